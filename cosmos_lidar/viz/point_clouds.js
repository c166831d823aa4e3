// Rotatable point clouds, side by side with one camera, in plain WebGL.
// A figure holds its description as JSON and its points as base64: x, y, z, error as uint16, eight bytes a point.
const UNKNOWN_ERROR = 65535;
const RANGE_COLORS_M = [2, 100];
const KINDS = { height: 0, range: 1, error: 2, plain: 3 };

const POINT_VERTEX = `
attribute vec4 point;
uniform mat4 camera;
uniform vec3 low, span;
uniform vec2 limits;
uniform float kind, size, maxError;
varying float value;
void main() {
  vec3 place = low + point.xyz * span;
  gl_Position = camera * vec4(place, 1.0);
  gl_PointSize = clamp(size * sqrt(55.0 / max(gl_Position.w, 1.0)), 0.6 * size, 3.0 * size);
  if (kind < 0.5) value = clamp((place.z - limits.x) / (limits.y - limits.x), 0.0, 1.0);
  else if (kind < 1.5) value = 1.0 - clamp(log(max(length(place), 0.01) / limits.x) / log(limits.y / limits.x), 0.0, 1.0);
  else if (kind < 2.5) value = point.w > 0.99999 ? -1.0 : clamp(point.w * maxError / limits.y, 0.0, 1.0);
  else value = -2.0;
}`;
const POINT_FRAGMENT = `
precision mediump float;
uniform sampler2D table;
uniform vec3 plain;
varying float value;
void main() {
  vec2 off = gl_PointCoord - 0.5;
  if (dot(off, off) > 0.25) discard;
  vec3 color = value < -1.5 ? plain : value < -0.5 ? vec3(0.42, 0.45, 0.5) : texture2D(table, vec2(value * 0.996 + 0.002, 0.5)).rgb;
  gl_FragColor = vec4(color, 1.0);
}`;
class CloudFigure extends OrbitView {
  constructor(figure) {
    super(figure);
    this.about = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    this.bytes = fromBase64(figure.querySelector("script[type='application/base64']").textContent);
    this.names = [...figure.querySelectorAll(".name")];
    this.frame = 0;
    this.kind = this.about.kinds[0];
    this.size = 2;
    this.resetView();
    if (!this.startGl()) return;
    this.connectTools();
    this.connectPointer();
    this.connectKeys();
    new ResizeObserver(() => this.layOut()).observe(this.stage);
    this.connectContext();
    this.layOut();
    this.draw();
  }

  prepareGl() {
    const gl = this.gl;
    this.points = buildProgram(gl, POINT_VERTEX, POINT_FRAGMENT);
    this.buffer = gl.createBuffer();
    this.loaded = -1;
    const table = fromBase64(document.getElementById("color-table").textContent);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, table);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.LINEAR);
  }

  layOut() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2), panels = this.names.length;
    const stacked = this.stage.clientWidth < 640 && panels > 1;
    this.stage.classList.toggle("stacked", stacked);
    const width = this.stage.clientWidth, height = this.stage.clientHeight;
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
    this.ratio = ratio;
    this.boxes = this.names.map((name, i) => {
      const box = stacked ? [0, i / panels, 1, 1 / panels] : [i / panels, 0, 1 / panels, 1];
      name.style.left = box[0] * 100 + "%";
      name.style.top = box[1] * 100 + "%";
      return box;
    });
    this.ask();
  }

  loadFrame() {
    if (this.loaded === this.frame) return;
    const gl = this.gl, clouds = this.about.frames[this.frame].clouds;
    const start = clouds[0].offset, end = clouds[clouds.length - 1].offset + clouds[clouds.length - 1].count;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, this.bytes.subarray(start * 8, end * 8), gl.STATIC_DRAW);
    this.loaded = this.frame;
    this.names.forEach((name, i) => {
      const small = document.createElement("small");
      small.textContent = clouds[i].total.toLocaleString("en") + " points";
      name.replaceChildren(clouds[i].name, small);
    });
  }

  draw() {
    const gl = this.gl;
    if (!this.boxes || gl.isContextLost()) return;
    this.loadFrame();
    const clouds = this.about.frames[this.frame].clouds, width = this.canvas.width, height = this.canvas.height;
    const cameras = this.boxes.map((box) => cameraMatrix(this.view, (box[2] * width) / (box[3] * height)));
    this.boxes.forEach((box, i) => {
      this.enter(box, 1);
      gl.clearColor(0.066, 0.077, 0.098, 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      this.drawPoints(cameras[i], clouds[i], clouds[i].offset - clouds[0].offset);
    });
    if (!this.checked && location.hash === "#check") this.countDrawn();
    this.boxes.forEach((box, i) => { this.enter(box, 1); this.drawLines(cameras[i]); });
  }

  enter(box, gap) {
    const gl = this.gl, width = this.canvas.width, height = this.canvas.height;
    const left = Math.round(box[0] * width) + (box[0] > 0 ? gap : 0), right = Math.round((box[0] + box[2]) * width);
    const top = Math.round(box[1] * height) + (box[1] > 0 ? gap : 0), bottom = Math.round((box[1] + box[3]) * height);
    const area = [left, height - bottom, Math.max(right - left, 1), Math.max(bottom - top, 1)];
    gl.viewport(...area);
    gl.scissor(...area);
  }

  drawPoints(camera, cloud, first) {
    const gl = this.gl, at = this.points.at, about = this.about;
    gl.useProgram(this.points.program);
    gl.uniformMatrix4fv(at.camera, false, camera);
    gl.uniform3fv(at.low, about.low);
    gl.uniform3fv(at.span, about.span);
    gl.uniform2fv(at.limits, this.limits());
    gl.uniform3fv(at.plain, cloud.plain);
    gl.uniform1f(at.kind, KINDS[this.kind]);
    gl.uniform1f(at.size, this.size * this.ratio);
    gl.uniform1f(at.maxError, about.maxError);
    const place = gl.getAttribLocation(this.points.program, "point");
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 4, gl.UNSIGNED_SHORT, true, 8, 0);
    gl.drawArrays(gl.POINTS, first, cloud.count);
  }

  // Proof that there is something to see: pixels of each panel that are not background, right after the first drawing.
  // Only when the page is opened as report.html#check: reading pixels back makes drivers grumble in the console.
  countDrawn() {
    this.checked = true;
    const gl = this.gl, copy = document.createElement("canvas");
    const counts = this.boxes.map((box) => {
      const x = Math.ceil(box[0] * this.canvas.width) + 1, width = Math.floor(box[2] * this.canvas.width) - 1;
      const y = Math.ceil(box[1] * this.canvas.height) + 1, height = Math.floor(box[3] * this.canvas.height) - 1;
      copy.width = Math.max(width, 1);
      copy.height = Math.max(height, 1);
      const pen = copy.getContext("2d", { willReadFrequently: true });
      pen.drawImage(this.canvas, -x, -y);
      const pixels = pen.getImageData(0, 0, copy.width, copy.height).data;
      let count = 0;
      for (let i = 0; i < pixels.length; i += 4) if (pixels[i] + pixels[i + 1] + pixels[i + 2] > 90) count++;
      return count;
    });
    this.figure.dataset.pointsDrawn = counts.join(" ");
    window.__pointsDrawn = (window.__pointsDrawn || 0) + counts.reduce((a, b) => a + b, 0);
    const code = gl.getError();
    if (code) reportProblem("WebGL error " + code);
  }

  limits() {
    if (this.kind === "range") return RANGE_COLORS_M;
    return this.kind === "error" ? [0, this.about.shownError] : this.about.heights;
  }

  connectTools() {
    const find = (name) => this.figure.querySelector(name);
    this.slider = find(".frames input");
    this.buttons = [...this.figure.querySelectorAll(".segments button")];
    this.buttons.forEach((button) => button.addEventListener("click", () => this.chooseKind(button.dataset.kind)));
    find(".size input").addEventListener("input", (event) => { this.size = Number(event.target.value); this.ask(); });
    find("button.reset").addEventListener("click", () => { this.resetView(); this.ask(); });
    if (this.slider) this.slider.addEventListener("input", () => this.chooseFrame(Number(this.slider.value)));
    this.chooseKind(this.kind);
  }

  chooseKind(kind) {
    this.kind = kind;
    this.buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.kind === kind)));
    const scale = this.figure.querySelector(".scale"), [low, high] = this.limits();
    scale.style.visibility = kind === "plain" ? "hidden" : "visible";
    scale.classList.toggle("reversed", kind === "range");
    scale.querySelector(".bar").style.transform = kind === "range" ? "scaleX(-1)" : "none";
    const middle = kind === "range" ? Math.sqrt(low * high) : (low + high) / 2;
    const word = { height: "height", range: "range", error: "range error", plain: "" }[kind];
    [low, middle, high].forEach((value, i) => {
      scale.querySelectorAll(".ticks span")[i].textContent = (i === 0 ? word + " " : "") + String(Number(value.toPrecision(2))).replace("-", "\u2212") + " m";
    });
    this.ask();
  }

  chooseFrame(index) {
    this.frame = Math.min(Math.max(index, 0), this.about.frames.length - 1);
    if (this.slider) {
      this.slider.value = this.frame;
      this.figure.querySelector(".frames output").textContent = this.about.frames[this.frame].title;
    }
    this.ask();
  }

  connectKeys() {
    const acts = {
      ArrowLeft: () => this.turn(-16, 0), ArrowRight: () => this.turn(16, 0),
      ArrowUp: () => this.turn(0, 16), ArrowDown: () => this.turn(0, -16),
      w: () => this.move(0, 24), s: () => this.move(0, -24), a: () => this.move(24, 0), d: () => this.move(-24, 0),
      "+": () => this.zoom(0.87), "=": () => this.zoom(0.87), "-": () => this.zoom(1.15),
      "[": () => this.chooseFrame(this.frame - 1), "]": () => this.chooseFrame(this.frame + 1),
      r: () => { this.resetView(); this.ask(); },
    };
    this.canvas.addEventListener("keydown", (event) => {
      const act = event.ctrlKey || event.metaKey || event.altKey ? null : acts[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }
}

document.querySelectorAll(".clouds").forEach((figure) => new CloudFigure(figure));
