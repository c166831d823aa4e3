"""Images of cameras: none, unreadable, another size than the calibration, one color."""

from __future__ import annotations

from collections.abc import Iterator

from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import CameraStream
from cosmos_lidar.clips.finding import Finding

TITLE = "images that cannot be read, have one color, or another size than the calibration"
READS = True
_LEAST_DEVIATION = 1.0  # of gray levels 0 to 255


def check_camera(recording: Recording, camera: CameraStream) -> Iterator[Finding]:
    """Yield what is wrong with the first image of the camera."""
    if not len(camera):
        yield Finding("images.none", "error", "no image")
        return
    image, error = recording.image(camera, 0), recording.image_error(camera, 0)
    if error is not None:
        file = None if error.file is None else str(error.file)
        yield Finding("images.unreadable", "error", str(error), 0, file, {"key": error.key})
    if image is None:
        return
    (height, width), lens = image.shape[:2], camera.model
    if lens is not None and (width, height) != (lens.width, lens.height):
        text = f"images are {width} x {height}, the calibration is for {lens.width} x {lens.height}"
        evidence = {"image": [width, height], "calibration": [lens.width, lens.height]}
        yield Finding("images.size", "error", text, 0, None, evidence)
    deviation = float(image[::4, ::4].std())
    if deviation < _LEAST_DEVIATION:
        text = f"image 0 has one color: gray levels deviate by {deviation:.2f}"
        yield Finding("images.blank", "warning", text, 0, None, {"deviation": deviation})
