"""The embedded image tokenizer: a camera's images and their reconstruction, side by side."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from cosmos_lidar.clips.clip import CameraStream
from cosmos_lidar.clips.fit_images import fit_frames
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.demo.section import DemoContext, LeftOutError, Section, embedded_model
from cosmos_lidar.families.video_tokenizer.codec import from_uint8, to_uint8
from cosmos_lidar.families.video_tokenizer.figure import beside
from cosmos_lidar.families.video_tokenizer.open import open_codec
from cosmos_lidar.families.video_tokenizer.score import VideoScores
from cosmos_lidar.progress import Meter
from cosmos_lidar.viz.report import Report
from cosmos_lidar.viz.video import write_video
from cosmos_lidar.viz.video_figure import video_html

TITLE = "Image tokenizer"
MODEL = "small-image-tokenizer"
_FRAMES = 9
_SIDE_PX = 256  # longer side of the images: larger ones are scaled down
_COLUMNS = ("of these images", "PSNR dB", "SSIM")


def make_section(recordings: Recordings, context: DemoContext) -> Section:
    """Encode and decode the images of one camera.

    Raises:
        LeftOutError: no camera, or the model is not installed.
    """
    if recordings.scene is None:
        raise LeftOutError("the recordings have no camera")
    weights = embedded_model(MODEL)
    camera = recordings.scene.cameras[(recordings.ring or tuple(recordings.scene.cameras))[0]]
    frames = _frames(camera)
    codec, facts = open_codec(weights, device="cpu")
    with Meter("reconstruct images", "images", len(frames)) as meter:
        made = []
        for block in codec.decode(codec.encode(frames)):
            made.append(block)
            meter.advance(len(block))
    decoded = np.concatenate(made)
    scores = {"embedded tokenizer": _scored(frames, decoded), "8 x 8 averages": _scored(frames, _averaged(frames))}
    path = context.out / "images" / f"{camera.name}.mp4"
    if len(frames) > 1:
        write_video(path, _pairs(frames, decoded), 10.0)
    height, width = frames.shape[1:3]
    sentence = (
        f"The embedded {facts['tokenizer']} on {len(frames)} image(s) of camera {camera.name}, scaled to {width} x "
        f"{height}: input, reconstruction, and four times their difference."
    )

    def draw(report: Report) -> None:
        caption = f"{camera.name}: input, reconstruction, 4 x difference"
        if len(frames) > 1:
            report.block(video_html(path, caption, 3 * width))
        else:
            report.image(beside(frames[0], decoded[0]), caption)
        report.table(_COLUMNS, [(name, one["psnr"], one["ssim"]) for name, one in scores.items()])

    return Section(TITLE, sentence, draw, _command(context.data), scores)


def _frames(camera: CameraStream) -> np.ndarray:
    """Return the first images (T, H, W, 3) uint8, at most :data:`_SIDE_PX` long, sides multiples of 8."""
    images = [camera.read(number) for number in range(min(len(camera), _FRAMES))]
    height, width = images[0].shape[:2]
    scale = min(1.0, _SIDE_PX / max(height, width))
    size = tuple(max(round(side * scale / 8) * 8, 8) for side in (height, width))
    return fit_frames(np.stack(images), (size[0], size[1]), "cover").permute(1, 2, 3, 0).numpy()


def _averaged(frames: np.ndarray) -> np.ndarray:
    """Return images whose blocks of 8 x 8 pixels are averaged, and interpolated between."""
    x = F.avg_pool2d(from_uint8(frames, torch.float32).transpose(0, 1), 8)
    return to_uint8(F.interpolate(x, scale_factor=8, mode="bilinear", align_corners=False).transpose(0, 1))


def _scored(frames: np.ndarray, made: np.ndarray) -> dict[str, float]:
    scores = VideoScores()
    for frame, decoded in zip(frames, made, strict=True):
        scores.add(frame, decoded)
    return scores.result()


def _pairs(frames: np.ndarray, made: np.ndarray) -> Iterator[np.ndarray]:
    for frame, decoded in zip(frames, made, strict=True):
        yield beside(frame, decoded)


def _command(data: Path | None) -> str:
    folder = shlex.quote(str(data)) if data else "VIDEOS_OR_IMAGES"
    return f"cosmos-lidar reconstruct {folder} --checkpoint small --out back"
