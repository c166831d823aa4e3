// What every figure of points in plain WebGL has: a camera around a target, mouse, touch, and lines on the ground.
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

// A subclass has draw(), prepareGl(), and about: distance, ground and ring in meters.
class OrbitView {
  constructor(figure) {
    this.figure = figure;
    this.stage = figure.querySelector(".stage");
    this.canvas = this.stage.querySelector("canvas");
  }

  resetView() {
    this.view = { yaw: Math.PI, pitch: 0.45, distance: this.about.distance, target: [this.about.distance * 0.12, 0, this.about.ground] };
  }

  // Opens WebGL and returns whether the browser has it; what depends on the figure is in prepareGl.
  startGl() {
    const gl = this.canvas.getContext("webgl", { antialias: true, alpha: false, preserveDrawingBuffer: true });
    if (!gl) {
      this.figure.dataset.noWebgl = "yes";
      this.canvas.hidden = true;
      const message = document.createElement("p");
      message.className = "message";
      message.textContent = "This browser does not offer WebGL, so the point clouds cannot be turned here. The images on this page show the same frames.";
      this.stage.append(message);
      return false;
    }
    this.gl = gl;
    this.lines = buildProgram(gl, LINE_VERTEX, LINE_FRAGMENT);
    this.lineBuffer = gl.createBuffer();
    this.loadLines();
    this.prepareGl();
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.SCISSOR_TEST);
    return true;
  }

  loadLines() {
    const gl = this.gl, rings = this.ringLines();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer);
    this.lineCount = rings.length / 3;
    gl.bufferData(gl.ARRAY_BUFFER, rings, gl.STATIC_DRAW);
  }

  connectContext() {
    this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    this.canvas.addEventListener("webglcontextrestored", () => { this.startGl(); this.ask(); });
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
    // The wheel scrolls the page until the image has been clicked.
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return;
      event.preventDefault();
      this.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.003));
    }, { passive: false });
  }
}
