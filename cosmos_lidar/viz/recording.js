// The viewer of a recording: one slider over the frames, which the 3D view, range map, images and path follow.
class RecordingViewer {
  constructor(section, page) {
    this.find = (name) => section.querySelector(name);
    this.page = page;
    this.blocks = document.querySelectorAll("script[data-block]");
    this.cloud = new RecordingCloud(this.find(".clouds"), page);
    this.path = new PathPanel(this.find(".path"), (frame) => this.chooseFrame(frame));
    this.lidar = this.frame = 0;
    this.slider = this.find(".time");
    this.connect(section);
    this.chooseClip(0);
  }

  connect(section) {
    const on = (name, kind, act) => this.find(name).addEventListener(kind, act);
    on(".pick-clip select", "change", (event) => this.chooseClip(Number(event.target.value)));
    on(".pick-lidar select", "change", (event) => this.chooseLidar(Number(event.target.value)));
    this.slider.addEventListener("input", () => this.chooseFrame(Number(this.slider.value)));
    on(".back", "click", () => this.chooseFrame(this.frame - 1));
    on(".on", "click", () => this.chooseFrame(this.frame + 1));
    on(".play", "click", () => this.play());
    on(".camera-tools .check input", "change", (event) => { CameraPanel.lidarOn = event.target.checked; this.panels.forEach((panel) => panel.draw()); });
    on(".camera-tools .size input", "input", (event) => { CameraPanel.pointSize = Number(event.target.value); this.panels.forEach((panel) => panel.draw()); });
    const acts = {
      ArrowLeft: () => this.chooseFrame(this.frame - 1), ArrowRight: () => this.chooseFrame(this.frame + 1),
      Home: () => this.chooseFrame(0), End: () => this.chooseFrame(this.clip.frames.length - 1), " ": () => this.play(),
    };
    document.addEventListener("keydown", (event) => {
      const busy = event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.target.closest?.("input, select, button");
      const act = busy && event.target !== this.slider ? null : acts[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  chooseClip(index) {
    const clip = this.clip = this.page.clips[index];
    this.find(".pick-clip").hidden = this.page.clips.length < 2;
    this.find(".pick-lidar").hidden = clip.lidars.length < 2;
    this.find(".pick-lidar select").replaceChildren(...clip.lidars.map((lidar, i) => new Option(`${lidar.name} (${lidar.sensor})`, i)));
    this.panels = clip.cameras.map((name) => new CameraPanel(name, this.cloud.table));
    this.find(".cameras").replaceChildren(...this.panels.map((panel) => panel.figure));
    this.find(".camera-tools").hidden = !this.panels.length || !clip.lidars.length;
    this.find(".clouds").hidden = this.find(".range-map").hidden = !clip.lidars.length;
    this.path.chooseClip(clip.path);
    this.slider.max = Math.max(clip.frames.length - 1, 0);
    this.frame = 0;
    this.chooseLidar(0);
  }

  chooseLidar(index) {
    this.lidar = index;
    this.cloud.chooseStream(this.clip.frames.map((frame) => frame.sweeps[index]), this.clip.labels, false);
    this.chooseFrame(this.frame);
  }

  chooseFrame(index) {
    this.frame = Math.max(0, Math.min(index, this.clip.frames.length - 1));
    this.slider.value = this.frame;
    const frame = this.clip.frames[this.frame], problems = this.find(".problems");
    this.find(".timeline output").textContent = frame ? `${frame.title} · ${frame.seconds.toFixed(2)} s` : "no frames";
    problems.hidden = !frame || !frame.problems.length;
    problems.textContent = frame ? frame.problems.join(" ") : "";
    if (!frame) return;
    const text = (block) => this.blocks[frame.first + block].textContent;
    const sweep = frame.sweeps[this.lidar];
    this.cloud.show(sweep || null, sweep ? fromBase64(text(sweep.points)) : null);
    const map = this.find(".range-map img");
    map.style.visibility = sweep ? "visible" : "hidden";
    if (sweep) map.src = "data:image/png;base64," + text(sweep.map);
    this.find(".range-map .label").textContent = sweep ? `Range map, ${sweep.rows} × ${sweep.columns}, ${sweep.title}` : "Range map: no sweep at this time";
    this.panels.forEach((panel, i) => {
      const image = frame.images[i], overlay = sweep ? sweep.overlays[i] : null;
      panel.show(image, image ? "data:image/jpeg;base64," + text(image.block) : "", overlay, overlay ? fromBase64(text(overlay.block)) : null);
    });
    this.path.show(this.frame);
  }

  play() {
    const button = this.find(".play");
    if (this.timer) {
      clearInterval(this.timer);
      this.timer = 0;
    } else this.timer = setInterval(() => this.chooseFrame((this.frame + 1) % this.clip.frames.length), 250);
    button.textContent = this.timer ? "❚❚" : "▶";
    button.setAttribute("aria-label", this.timer ? "Pause" : "Play");
  }
}

new RecordingViewer(document.querySelector(".viewer"), JSON.parse(document.getElementById("recording").textContent));
