"""The report in a real browser: headless Chromium, no network, software WebGL."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from cosmos_lidar.viz import write_report, write_video
from cosmos_lidar.viz.video_figure import video_html
from tests.waiting import PATIENCE_S

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path: apt-get install chromium")

# Presses keys and buttons as a reader would, and writes what each did to the image into the page.
DRIVE = """<script>
window.requestAnimationFrame = (draw) => setTimeout(draw, 0);  // no screen, hence no frames
const canvas = document.querySelector("canvas");
const image = () => { let h = 0; for (const c of canvas.toDataURL()) h = (h * 31 + c.charCodeAt(0)) | 0; return h; };
const steps = [
  ["nothing", () => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "r" }))],
  ["turn", () => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }))],
  ["zoom", () => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "+" }))],
  ["frame", () => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "]" }))],
  ["error", () => document.querySelector("[data-kind=error]").click()],
  ["drag", () => {
    const pointer = { pointerId: 1, clientY: 5, buttons: 1 };
    const at = (kind, x) => canvas.dispatchEvent(new PointerEvent(kind, { ...pointer, clientX: x }));
    canvas.setPointerCapture = () => {};
    at("pointerdown", 5); at("pointermove", 60); at("pointerup", 60);
  }],
  ["reset", () => document.querySelector("button.reset").click()],
];
const seen = [];
function next() {
  const [name, act] = steps.shift();
  act();
  setTimeout(() => {
    seen.push(name + "=" + image());
    document.documentElement.dataset.seen = seen.join(" ");
    if (steps.length) next();
  }, 20);
}
setTimeout(next, 300);
const plot = document.querySelector(".plot"), box = plot.getBoundingClientRect();
plot.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 2, clientY: box.top + 9 }));
</script>"""


def open_page(path, profile, *flags, hash=""):
    """Return (DOM after the page's scripts have run, console lines)."""
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--no-first-run", "--no-default-browser-check", f"--user-data-dir={profile}",
        "--enable-logging=stderr", "--window-size=1200,900", "--virtual-time-budget=6000", *flags,
        "--dump-dom", path.as_uri() + hash,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert "</html>" in done.stdout, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, [line for line in console if "stall due to ReadPixels" not in line]


def attribute(dom, name):
    found = re.search(rf'{name}="([^"]*)"', dom)
    return found[1] if found else None


@pytest.fixture
def report(tmp_path, comparisons, metrics_csv):
    return write_report(tmp_path / "report.html", "Test", metrics_csv=metrics_csv, frames=comparisons)


def test_points_are_drawn_and_react_without_console_errors(report, tmp_path):
    report.write_text(report.read_text(encoding="utf-8").replace("</body>", DRIVE + "</body>"), encoding="utf-8")
    dom, console = open_page(report, tmp_path / "profile", hash="#check")
    assert console == []
    assert attribute(dom, "data-problems") is None
    panels = [int(count) for count in attribute(dom, "data-points-drawn").split()]
    assert len(panels) == 2
    assert min(panels) > 1000
    seen = dict(pair.split("=") for pair in attribute(dom, "data-seen").split())
    images = [seen[name] for name in ("nothing", "turn", "zoom", "frame", "error", "drag")]
    assert len(set(images)) == len(images), "every act changes the image"
    assert re.search(r"<output>drive_0 · frame 000010</output>", dom)
    assert re.search(r'class="reading"[^>]*><div>step (99|100|101)</div><div>training loss 0\.', dom)


WATCH = """<script>
const video = document.querySelector("video");
video.addEventListener("loadeddata", () => {
  document.documentElement.dataset.video = `${video.videoWidth} x ${video.videoHeight}`;
});
</script>"""


def test_a_phone_stacks_the_panels_and_plays_videos(report, tmp_path):
    write_video(tmp_path / "video.mp4", np.zeros((3, 32, 48, 3), np.uint8))
    video = video_html(tmp_path / "video.mp4", "a video") + WATCH
    report.write_text(report.read_text(encoding="utf-8").replace("</main>", video + "</main>"), encoding="utf-8")
    dom, console = open_page(report, tmp_path / "profile", "--window-size=500,900", hash="#check")
    assert console == []
    assert 'class="stage stacked"' in dom
    assert attribute(dom, "data-video") == "48 x 32"
    assert min(map(int, attribute(dom, "data-points-drawn").split())) > 500


def test_a_browser_without_webgl_says_so(report, tmp_path):
    dom, _ = open_page(report, tmp_path / "profile", "--disable-3d-apis")
    assert "does not offer WebGL" in re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)
    assert attribute(dom, "data-problems") is None
