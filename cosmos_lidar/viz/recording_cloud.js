// Points of one sweep in WebGL, colored on the CPU by range, height or a recorded value.
const TINTED_VERTEX = `
attribute vec3 point, tint;
uniform mat4 camera;
uniform vec3 low, span;
uniform float size;
varying vec3 color;
void main() {
  gl_Position = camera * vec4(low + point * span, 1.0);
  gl_PointSize = clamp(size * sqrt(55.0 / max(gl_Position.w, 1.0)), 0.6 * size, 3.0 * size);
  color = tint;
}`;
const TINTED_FRAGMENT = `
precision mediump float;
varying vec3 color;
void main() {
  vec2 off = gl_PointCoord - 0.5;
  if (dot(off, off) > 0.25) discard;
  gl_FragColor = vec4(color, 1.0);
}`;
const CLOUD_COLORS = { range: "Range", height: "Height", intensity: "Intensity", label: "Label", ring: "Ring" };

// Number per point of a recorded value: label and ring as recorded, intensity between 0 and sweep.values.intensity.top.
function recordedValues(sweep, bytes, name) {
  const { offset, bytes: width } = sweep.values[name];
  return width === 2 ? new Uint16Array(bytes.buffer, offset, sweep.count) : new Uint8Array(bytes.buffer, offset, sweep.count);
}

class RecordingCloud extends OrbitView {
  constructor(figure, page) {
    super(figure);
    this.page = page;
    this.table = fromBase64(document.getElementById("color-table").textContent);
    this.about = { distance: 40, ground: -2, ring: 5, heights: [-3, 6] };
    this.kind = "range";
    this.size = 2;
    this.sweep = null;
    this.resetView();
    const find = (name) => figure.querySelector(name);
    find(".size input").addEventListener("input", (event) => { this.size = Number(event.target.value); this.ask(); });
    find("button.reset").addEventListener("click", () => { this.resetView(); this.ask(); });
    if (!this.startGl()) return;
    this.connectPointer();
    this.connectKeys();
    this.connectContext();
    new ResizeObserver(() => this.layOut()).observe(this.stage);
    this.layOut();
  }

  prepareGl() {
    const gl = this.gl;
    this.points = buildProgram(gl, TINTED_VERTEX, TINTED_FRAGMENT);
    this.places = gl.createBuffer();
    this.tints = gl.createBuffer();
    if (this.sweep) this.load();
  }

  // Another lidar or clip: its extent, its values, and the classes of the clip.
  chooseStream(sweeps, labels, keepView) {
    const known = sweeps.filter((sweep) => sweep);
    this.labels = labels;
    this.tops = known.reduce((top, sweep) => Math.max(top, sweep.values.intensity ? sweep.values.intensity.top : 0), 0);
    if (known.length) this.about = known[0].stage;
    if (!keepView) this.resetView();
    if (this.gl) this.loadLines();
    const kinds = Object.keys(CLOUD_COLORS).filter((kind) => kind === "range" || kind === "height" || known.some((sweep) => sweep.values[kind]));
    if (!kinds.includes(this.kind)) this.kind = "range";
    this.figure.querySelector(".segments").replaceChildren(...kinds.map((kind) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.kind = kind;
      button.textContent = CLOUD_COLORS[kind];
      button.addEventListener("click", () => this.chooseKind(kind));
      return button;
    }));
  }

  show(sweep, bytes) {
    this.sweep = sweep;
    this.bytes = bytes;
    const small = document.createElement("small");
    small.textContent = !sweep ? "no sweep at this time" : sweep.count < sweep.total
      ? `${sweep.count.toLocaleString("en")} of ${sweep.total.toLocaleString("en")} points` : `${sweep.total.toLocaleString("en")} points`;
    this.figure.querySelector(".name").replaceChildren(sweep ? sweep.title : "", small);
    this.chooseKind(this.kind);
  }

  chooseKind(kind) {
    this.kind = kind;
    this.figure.querySelectorAll(".segments button").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.kind === kind)));
    this.load();
    this.showLegend();
    this.ask();
  }

  load() {
    if (!this.gl || !this.sweep) return;
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.places);
    gl.bufferData(gl.ARRAY_BUFFER, new Uint16Array(this.bytes.buffer, 0, 3 * this.sweep.count), gl.STATIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.tints);
    gl.bufferData(gl.ARRAY_BUFFER, this.colorPoints(), gl.STATIC_DRAW);
  }

  colorPoints() {
    const { sweep, kind, table } = this, out = new Uint8Array(3 * sweep.count);
    if (sweep.values[kind] === undefined && kind !== "range" && kind !== "height") return out.fill(110);
    if (kind === "label") {
      const colors = new Map(this.labels.map((label) => [label.id, label.color]));
      recordedValues(sweep, this.bytes, kind).forEach((id, i) => out.set(colors.get(id) || [110, 110, 110], 3 * i));
      return out;
    }
    this.shares().forEach((share, i) => {
      const at = 3 * Math.min(255, Math.max(0, Math.floor(256 * share)));
      out[3 * i] = table[at];
      out[3 * i + 1] = table[at + 1];
      out[3 * i + 2] = table[at + 2];
    });
    return out;
  }

  // Place of each point on the color table, 0 to 1.
  shares() {
    const { sweep, kind } = this, [low, high] = this.limits(), out = new Float32Array(sweep.count);
    if (kind === "intensity" || kind === "ring") {
      const values = recordedValues(sweep, this.bytes, kind), scale = kind === "intensity" ? sweep.values.intensity.top / 255 : 1;
      for (let i = 0; i < out.length; i++) out[i] = values[i] * scale / high;
      return out;
    }
    const raw = new Uint16Array(this.bytes.buffer, 0, 3 * sweep.count);
    const place = (i, axis) => sweep.low[axis] + raw[3 * i + axis] / 65535 * sweep.span[axis];
    for (let i = 0; i < out.length; i++) {
      if (kind === "height") out[i] = (place(i, 2) - low) / (high - low);
      else out[i] = 1 - Math.log(Math.max(Math.hypot(place(i, 0), place(i, 1), place(i, 2)), 0.01) / low) / Math.log(high / low);
    }
    return out;
  }

  limits() {
    if (this.kind === "range") return [this.page.near, this.page.far];
    if (this.kind === "height") return this.about.heights;
    if (this.kind === "intensity") return [0, this.tops || 1];
    const rings = this.sweep && this.sweep.values.ring ? recordedValues(this.sweep, this.bytes, "ring") : [];
    return [0, Math.max(1, rings.reduce((most, ring) => Math.max(most, ring), 0))];
  }

  showLegend() {
    const scale = this.figure.querySelector(".scale"), swatches = this.figure.querySelector(".swatches"), byRange = this.kind === "range";
    scale.hidden = this.kind === "label";
    swatches.hidden = !scale.hidden;
    swatches.replaceChildren(...(swatches.hidden ? [] : this.labels).map((label) => {
      const item = document.createElement("span"), mark = document.createElement("i");
      item.className = "swatch";
      mark.style.background = `rgb(${label.color})`;
      item.append(mark, `${label.id}${label.name ? " " + label.name : ""}`);
      return item;
    }));
    const [low, high] = this.limits(), unit = this.kind === "range" || this.kind === "height" ? " m" : "";
    scale.querySelector(".bar").style.transform = byRange ? "scaleX(-1)" : "none";
    [low, byRange ? Math.sqrt(low * high) : (low + high) / 2, high].forEach((value, i) => {
      const number = String(Number(value.toPrecision(2))).replace("-", "\u2212");
      scale.querySelectorAll(".ticks span")[i].textContent = (i === 0 ? CLOUD_COLORS[this.kind] + " " : "") + number + unit;
    });
  }

  layOut() {
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.canvas.width = Math.max(1, Math.round(this.stage.clientWidth * this.ratio));
    this.canvas.height = Math.max(1, Math.round(this.stage.clientHeight * this.ratio));
    this.ask();
  }

  draw() {
    const gl = this.gl;
    if (!gl || gl.isContextLost()) return;
    const { width, height } = this.canvas, camera = cameraMatrix(this.view, width / height), at = this.points.at;
    gl.viewport(0, 0, width, height);
    gl.scissor(0, 0, width, height);
    gl.clearColor(0.066, 0.077, 0.098, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (this.sweep && this.sweep.count) {
      gl.useProgram(this.points.program);
      gl.uniformMatrix4fv(at.camera, false, camera);
      gl.uniform3fv(at.low, this.sweep.low);
      gl.uniform3fv(at.span, this.sweep.span);
      gl.uniform1f(at.size, this.size * this.ratio);
      const arrays = [["point", this.places, gl.UNSIGNED_SHORT, 6], ["tint", this.tints, gl.UNSIGNED_BYTE, 3]].map(([name, buffer, type, stride]) => {
        const place = gl.getAttribLocation(this.points.program, name);
        gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
        gl.enableVertexAttribArray(place);
        gl.vertexAttribPointer(place, 3, type, true, stride, 0);
        return place;
      });
      gl.drawArrays(gl.POINTS, 0, this.sweep.count);
      arrays.forEach((place) => gl.disableVertexAttribArray(place));
    }
    this.drawLines(camera);
  }

  connectKeys() {
    const acts = {
      q: () => this.turn(-16, 0), e: () => this.turn(16, 0), ArrowUp: () => this.turn(0, 16), ArrowDown: () => this.turn(0, -16),
      w: () => this.move(0, 24), s: () => this.move(0, -24), a: () => this.move(24, 0), d: () => this.move(-24, 0),
      "+": () => this.zoom(0.87), "=": () => this.zoom(0.87), "-": () => this.zoom(1.15), r: () => { this.resetView(); this.ask(); },
    };
    this.canvas.addEventListener("keydown", (event) => {
      const act = event.ctrlKey || event.metaKey || event.altKey ? null : acts[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }
}
