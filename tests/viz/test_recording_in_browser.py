"""The viewer of a recording in a real browser: headless Chromium, no network, software WebGL."""

import re
from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import CameraStream, Clip, Sweep
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.viz.recording import write_recording_report
from tests.viz.test_recording import recording
from tests.viz.test_report_in_browser import CHROMIUM, attribute, open_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path: apt-get install chromium")

# Acts as a reader would; after each act the page holds a hash of every canvas and of the range map.
DRIVE = """<script>
window.requestAnimationFrame = (draw) => setTimeout(draw, 0);  // no screen, hence no frames
const hash = (text) => { let h = 0; for (const c of text) h = (h * 31 + c.charCodeAt(0)) | 0; return h; };
const $ = (name) => document.querySelector(".viewer " + name);
const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const slide = (value) => { $(".time").value = value; $(".time").dispatchEvent(new Event("input")); };
const choose = (name, value) => { $(name).value = value; $(name).dispatchEvent(new Event("change")); };
const steps = [
  ["start", () => {}], ["slide", () => slide(2)], ["left", () => press("ArrowLeft")], ["end", () => press("End")],
  ["home", () => press("Home")], ["right", () => press("ArrowRight")],
  ["label", () => $("[data-kind=label]").click()], ["intensity", () => $("[data-kind=intensity]").click()],
  ["ring", () => $("[data-kind=ring]").click()], ["height", () => $("[data-kind=height]").click()],
  ["off", () => $(".camera-tools .check input").click()], ["again", () => $(".camera-tools .check input").click()],
  ["lidar", () => choose(".pick-lidar select", 1)], ["clip", () => choose(".pick-clip select", 1)],
];
function next() {
  const [name, act] = steps.shift();
  act();
  setTimeout(() => {
    const seen = [".clouds canvas", ".cameras canvas", ".path canvas"].map((name) => hash($(name).toDataURL()));
    document.documentElement.dataset["at" + name] = [...seen, hash($(".range-map img").src), $(".time").value,
      $(".segments").children.length, document.querySelectorAll(".viewer .swatch").length].join(" ");
    if (steps.length) next();
  }, 120);
}
setTimeout(next, 300);
</script>"""


def drive() -> Clip:
    """Two lidars, the second without values, a camera, and a path."""

    def sweep(index: int) -> Sweep:
        range_m = np.full((8, 64), 8.0 + 4 * index, np.float32)
        intensity = np.tile(np.arange(64, dtype=np.float32), (8, 1))
        labels = np.where(np.arange(64) < 32, 40, 10).astype(np.uint16)[None].repeat(8, 0)
        return Sweep(range_m=range_m, intensity=intensity, labels=labels)

    clip = recording(5).with_lidar(read=sweep)
    forward = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    front: CameraStream = clip.cameras["front"]
    front = replace(front, world_SE3_camera=np.asarray(front.world_SE3_camera) @ forward)
    sensor = uniform_sensor(4, 32)
    other = replace(
        clip.lidar, name="bumper", sensor=sensor, read=lambda index: Sweep(points=np.eye(3, dtype=np.float32) * 9)
    )
    return replace(clip, lidars={**clip.lidars, "bumper": other}, cameras={"front": front})


def test_everything_follows_the_slider_without_console_errors(tmp_path):
    footage = replace(recording(3), clip_id="drive_b")
    page = write_recording_report(tmp_path / "a.html", "Test", [drive(), footage])
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", DRIVE + "</body>"), encoding="utf-8")
    dom, console = open_page(page, tmp_path / "profile")
    assert console == []
    assert attribute(dom, "data-problems") is None
    names = ("start slide left end home right label intensity ring height off again lidar clip").split()
    seen = {name: attribute(dom, f"data-at{name}").split() for name in names}
    frames = {name: int(at[4]) for name, at in seen.items()}
    assert [frames[name] for name in ("start", "slide", "left", "end", "home", "right")] == [0, 2, 1, 4, 0, 1]
    for panel in range(4):  # cloud, camera, path, range map
        shown = [seen[name][panel] for name in ("start", "slide", "left", "end")]
        assert len(set(shown)) == 4, f"panel {panel} follows the slider"
        assert seen["home"][panel] == seen["start"][panel]
        assert seen["right"][panel] == seen["left"][panel]
    colors = [seen[name][0] for name in ("right", "label", "intensity", "ring", "height")]
    assert len(set(colors)) == 5, "every kind of color changes the cloud"
    assert (seen["right"][5], seen["label"][6], seen["ring"][6]) == ("5", "2", "0")
    assert seen["off"][1] != seen["height"][1] == seen["again"][1]
    assert seen["lidar"][0] != seen["again"][0]
    assert seen["lidar"][5] == "2", "only colors that this lidar has"
    assert (seen["clip"][4], seen["clip"][5]) == ("0", "3")


@pytest.mark.parametrize("clip", [replace(recording(2), lidars={}), replace(recording(2), cameras={})])
@pytest.mark.parametrize("flags", [("--window-size=500,900",), ("--disable-3d-apis",)])
def test_one_kind_of_sensor_on_a_phone_or_without_webgl(tmp_path, clip, flags):
    page = write_recording_report(tmp_path / "a.html", "Test", [clip])
    wide = "<script>document.documentElement.dataset.wide = document.documentElement.scrollWidth > innerWidth</script>"
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", wide + "</body>"), encoding="utf-8")
    dom, console = open_page(page, tmp_path / "profile", *flags)
    assert [line for line in console if "WebGL" not in line] == []
    assert attribute(dom, "data-problems") is None
    assert attribute(dom, "data-wide") == "false"
    assert re.search(r"<output>(sweep|image) 0", dom)
