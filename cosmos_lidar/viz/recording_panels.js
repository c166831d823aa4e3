// Camera images with lidar points on them, and the ego path from above, as 2D canvases.
class CameraPanel {
  constructor(name, table) {
    this.figure = document.createElement("figure");
    this.canvas = document.createElement("canvas");
    this.caption = document.createElement("figcaption");
    this.figure.append(this.canvas, this.caption);
    this.name = name;
    this.table = table;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `Image of camera ${name}`);
    this.canvas.addEventListener("click", () => this.figure.classList.toggle("large"));
    new ResizeObserver(() => this.draw()).observe(this.figure);
  }

  // image: {width, height, title}; source: its data URI; points: {count} and bytes of the overlay, or null.
  show(image, source, overlay, bytes) {
    this.overlay = overlay;
    this.bytes = bytes;
    this.caption.textContent = [this.name, image ? image.title : "no image at this time", image && !overlay ? "no calibration: no lidar on it" : ""].filter(Boolean).join(" · ");
    if (!image) {
      this.photo = null;
      this.draw();
      return;
    }
    const photo = new Image();
    this.waiting = photo;
    photo.onload = () => {
      if (this.waiting !== photo) return;
      this.photo = photo;
      this.canvas.width = image.width;
      this.canvas.height = image.height;
      this.draw();
    };
    photo.onerror = () => reportProblem(`image of ${this.name} did not load`);
    photo.src = source;
  }

  draw() {
    const pen = this.canvas.getContext("2d"), { width, height } = this.canvas;
    pen.clearRect(0, 0, width, height);
    if (!this.photo) return;
    pen.drawImage(this.photo, 0, 0, width, height);
    if (!this.overlay || !CameraPanel.lidarOn) return;
    const { overlay: { count }, bytes, table } = this;
    const across = new Uint16Array(bytes.buffer, 0, count), down = new Uint16Array(bytes.buffer, 2 * count, count);
    const size = CameraPanel.pointSize * width / Math.max(this.canvas.clientWidth, 1);
    let last = -1;
    for (let i = 0; i < count; i++) {  // sorted by range: the color changes seldom
      const code = bytes[4 * count + i];
      if (code !== last) {
        const at = 3 * Math.round(255 * (1 - (code - 1) / 254));
        pen.fillStyle = `rgb(${table[at]},${table[at + 1]},${table[at + 2]})`;
        last = code;
      }
      pen.fillRect(across[i] / 65535 * width - size / 2, down[i] / 65535 * height - size / 2, size, size);
    }
  }
}
CameraPanel.lidarOn = true;
CameraPanel.pointSize = 2;  // pixels on the screen

class PathPanel {
  constructor(figure, choose) {
    this.figure = figure;
    this.canvas = figure.querySelector("canvas");
    this.path = null;
    this.frame = 0;
    this.canvas.addEventListener("click", (event) => {
      const box = this.canvas.getBoundingClientRect(), place = this.placing();
      const gaps = this.path.poses.map((pose) => { const [x, y] = place(pose); return Math.hypot(x - event.clientX + box.left, y - event.clientY + box.top); });
      choose(gaps.indexOf(Math.min(...gaps)));
    });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  chooseClip(path) {
    this.path = path;
    this.figure.hidden = !path;
    this.figure.parentElement.classList.toggle("alone", !path);
    if (path) this.figure.querySelector("figcaption").textContent = `Ego path from above: ${path.length} m, from the poses of ${path.of}. The heading at the start points up.`;
  }

  show(frame) {
    this.frame = frame;
    this.draw();
  }

  // Meters (forward, left) -> CSS pixels: one scale for both axes, forward is up.
  placing() {
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight, xy = this.path.xy;
    const low = [0, 1].map((axis) => xy.reduce((least, place) => Math.min(least, place[axis]), Infinity));
    const high = [0, 1].map((axis) => xy.reduce((most, place) => Math.max(most, place[axis]), -Infinity));
    this.scale = Math.min((width - 56) / Math.max(high[1] - low[1], 4), (height - 72) / Math.max(high[0] - low[0], 4));
    const middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
    return (place) => [width / 2 - (place[1] - middle[1]) * this.scale, height / 2 - 8 - (place[0] - middle[0]) * this.scale];
  }

  draw() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2), { clientWidth: width, clientHeight: height } = this.canvas;
    if (!this.path || !width || !height) return;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const pen = this.canvas.getContext("2d"), place = this.placing(), style = getComputedStyle(this.figure);
    const color = (name) => style.getPropertyValue(name).trim();
    pen.scale(ratio, ratio);
    pen.lineJoin = "round";
    pen.lineWidth = 2.5;
    pen.strokeStyle = color("--accent");
    pen.beginPath();
    this.path.xy.forEach((one) => pen.lineTo(...place(one)));
    pen.stroke();
    pen.fillStyle = color("--accent");
    this.path.poses.forEach((pose) => { pen.beginPath(); pen.arc(...place(pose), 3, 0, 7); pen.fill(); });
    this.drawVehicle(pen, place, color("--second"));
    this.drawScale(pen, height, color("--soft"));
  }

  drawVehicle(pen, place, fill) {
    const pose = this.path.poses[this.frame];
    if (!pose) return;
    pen.save();
    pen.translate(...place(pose));
    pen.rotate(-pose[2]);
    pen.fillStyle = fill;
    pen.beginPath();
    for (const [x, y] of [[0, -12], [8, 9], [0, 4], [-8, 9]]) pen.lineTo(x, y);
    pen.fill();
    pen.restore();
  }

  drawScale(pen, height, ink) {
    const most = 90 / this.scale, decade = 10 ** Math.floor(Math.log10(most));
    const meters = [5, 2, 1].find((step) => step * decade <= most) * decade;
    pen.fillStyle = ink;
    pen.fillRect(16, height - 14, meters * this.scale, 2);
    pen.font = "12px system-ui, sans-serif";
    pen.fillText(`${Number(meters.toPrecision(1))} m`, 16, height - 20);
  }
}
