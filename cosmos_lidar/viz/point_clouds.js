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
const LINE_VERTEX = "attribute vec3 place; uniform mat4 camera; void main() { gl_Position = camera * vec4(place, 1.0); }";
const LINE_FRAGMENT = "precision mediump float; uniform vec4 color; void main() { gl_FragColor = color; }";

function fromBase64(text) {
  const raw = atob(text.trim()), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

function buildProgram(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) reportProblem("shader: " + gl.getShaderInfoLog(shader));
  }
  gl.linkProgram(program);
  const at = {};
  for (let i = 0; i < (gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS) || 0); i++) {
    const name = gl.getActiveUniform(program, i).name;
    at[name] = gl.getUniformLocation(program, name);
  }
  return { program, at };
}

// Column-major product of a perspective lens and a view from eye to target, z up.
function cameraMatrix(view, aspect) {
  const f = 1 / Math.tan(Math.PI / 8), near = 0.2, far = 2000;
  const cp = Math.cos(view.pitch), sp = Math.sin(view.pitch), cy = Math.cos(view.yaw), sy = Math.sin(view.yaw);
  const back = [cp * cy, cp * sy, sp], right = [-sy, cy, 0], up = [-sp * cy, -sp * sy, cp];
  const eye = view.target.map((value, i) => value + back[i] * view.distance);
  const dot = (axis) => -(axis[0] * eye[0] + axis[1] * eye[1] + axis[2] * eye[2]);
  const scale = aspect < 1 ? f * aspect : f;
  const sx = scale / aspect, a = (far + near) / (near - far), b = 2 * far * near / (near - far);
  const out = new Float32Array(16);
  for (let i = 0; i < 3; i++) {
    out[4 * i] = sx * right[i];
    out[4 * i + 1] = scale * up[i];
    out[4 * i + 2] = a * back[i];
    out[4 * i + 3] = -back[i];
  }
  out[12] = sx * dot(right);
  out[13] = scale * dot(up);
  out[14] = a * dot(back) + b;
  out[15] = -dot(back);
  return out;
}

class CloudFigure {
  constructor(figure) {
    this.figure = figure;
    this.about = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    this.bytes = fromBase64(figure.querySelector("script[type='application/base64']").textContent);
    this.stage = figure.querySelector(".stage");
    this.canvas = figure.querySelector("canvas");
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
    this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    this.canvas.addEventListener("webglcontextrestored", () => { this.startGl(); this.ask(); });
    this.layOut();
    this.draw();
  }

  resetView() {
    this.view = { yaw: Math.PI, pitch: 0.45, distance: this.about.distance, target: [this.about.distance * 0.12, 0, this.about.ground] };
  }

  startGl() {
    const gl = this.canvas.getContext("webgl", { antialias: true, alpha: false, preserveDrawingBuffer: true });
    if (!gl) {
      this.figure.dataset.noWebgl = "yes";
      this.canvas.hidden = true;
      const message = document.createElement("p");
      message.className = "message";
      message.textContent = "This browser does not offer WebGL, so the point clouds cannot be turned here. The pictures above show the same frames.";
      this.stage.append(message);
      return false;
    }
    this.gl = gl;
    this.points = buildProgram(gl, POINT_VERTEX, POINT_FRAGMENT);
    this.lines = buildProgram(gl, LINE_VERTEX, LINE_FRAGMENT);
    this.buffer = gl.createBuffer();
    this.loaded = -1;
    this.lineBuffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer);
    const rings = this.ringLines();
    this.lineCount = rings.length / 3;
    gl.bufferData(gl.ARRAY_BUFFER, rings, gl.STATIC_DRAW);
    const table = fromBase64(document.getElementById("color-table").textContent);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, table);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.LINEAR);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.SCISSOR_TEST);
    return true;
  }

  // Range rings on the ground and an arrow where the sensor is, looking forward.
  ringLines() {
    const out = [], z = this.about.ground;
    for (let radius = this.about.ring; radius <= this.about.ring * 5.01; radius += this.about.ring) {
      for (let i = 0; i < 96; i++) {
        for (const j of [i, i + 1]) out.push(radius * Math.cos(j * Math.PI / 48), radius * Math.sin(j * Math.PI / 48), z);
      }
    }
    const tip = [2.4, 0, z], left = [-1.2, 1, z], right = [-1.2, -1, z];
    out.push(...tip, ...left, ...left, ...right, ...right, ...tip);
    return new Float32Array(out);
  }

  ask() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.draw(); });
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

  drawLines(camera) {
    const gl = this.gl, place = gl.getAttribLocation(this.lines.program, "place");
    gl.useProgram(this.lines.program);
    gl.uniformMatrix4fv(this.lines.at.camera, false, camera);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 12, 0);
    gl.uniform4f(this.lines.at.color, 0.25, 0.28, 0.33, 1);
    gl.drawArrays(gl.LINES, 0, this.lineCount - 6);
    gl.uniform4f(this.lines.at.color, 1, 1, 1, 1);
    gl.drawArrays(gl.LINES, this.lineCount - 6, 6);
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

  turn(dx, dy) {
    this.view.yaw -= dx * 0.006;
    this.view.pitch = Math.min(Math.max(this.view.pitch + dy * 0.006, -0.2), 1.57);
    this.ask();
  }

  // Move along the ground: what is under the pointer stays there, more or less.
  move(dx, dy) {
    const { yaw, pitch, distance, target } = this.view, step = distance / this.canvas.clientHeight;
    const lift = 1 / Math.max(Math.sin(pitch), 0.35);
    target[0] += step * (dx * Math.sin(yaw) - dy * lift * Math.cos(yaw));
    target[1] += step * (-dx * Math.cos(yaw) - dy * lift * Math.sin(yaw));
    this.ask();
  }

  zoom(factor) {
    this.view.distance = Math.min(Math.max(this.view.distance * factor, 2), 500);
    this.ask();
  }

  connectPointer() {
    const canvas = this.canvas, pointers = new Map();
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
    });
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => pointers.delete(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
      const other = [...pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
      if (other) {
        const gap = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY);
        this.zoom(gap(before) / Math.max(gap(event), 1));
        this.move(dx / 2, dy / 2);
      } else if (event.buttons & 6 || event.shiftKey) this.move(dx, dy);
      else this.turn(dx, dy);
      pointers.set(event.pointerId, event);
    });
    // The wheel scrolls the page until the picture has been clicked.
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return;
      event.preventDefault();
      this.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.003));
    }, { passive: false });
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
