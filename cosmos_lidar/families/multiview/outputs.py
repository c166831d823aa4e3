"""Outputs of multi-view generation: videos of the views, a tiled video, a record of the settings, and a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.multiview.inputs import ViewInput
from cosmos_lidar.files import parse_json, read_text, write_json
from cosmos_lidar.images import open_image
from cosmos_lidar.metrics.image import psnr_of_error
from cosmos_lidar.viz.images import stack_images, write_png
from cosmos_lidar.viz.report import Report
from cosmos_lidar.viz.video import write_video

Layout = Literal["grid", "stack"]
REPORT = "report.html"
_SHOWN = 5  # instants on the page
_SHOWN_WIDTH = 320  # pixels of an image on the page


def tiled_file(folder: Path, name: str) -> Path:
    """Return the file of all views together."""
    return folder / f"{name}.mp4"


def record_file(folder: Path, name: str) -> Path:
    """Return the file of the settings that a clip was generated with; it is written last."""
    return folder / f"{name}.json"


def is_finished(folder: Path, name: str, settings: Mapping[str, Any], overwrite: bool) -> bool:
    """Return whether a clip was generated with these settings already.

    Raises:
        UserError: it was generated with others, or a video without a record is there, and ``overwrite`` is False.
    """
    record = record_file(folder, name)
    if not record.is_file():
        if tiled_file(folder, name).exists() and not overwrite:
            raise UserError(f"{tiled_file(folder, name)} exists, and is not known to be complete: add --overwrite")
        return False
    try:
        found = parse_json(read_text(record))
    except ValueError as error:
        raise DataError(f"not JSON: {error}", file=record, wanted="a record of generate-views") from error
    if isinstance(found, dict) and found.get("settings") == dict(settings):
        return True
    if overwrite:
        return False
    changed = sorted(key for key in settings if not isinstance(found, dict) or
                     found.get("settings", {}).get(key) != settings[key])  # fmt: skip
    raise UserError(
        f"{record}: generated with other settings ({', '.join(changed)}): add --overwrite, or another folder"
    )


def write_clip(
    folder: Path, given: ViewInput, video: Tensor, fps: float, layout: Layout, settings: Mapping[str, Any]
) -> None:
    """Write ``videos/CAMERA/NAME.mp4`` of each view, ``NAME.mp4`` of all, ``NAME.png``, then ``NAME.json``.

    Args:
        folder: for the files.
        given: what it was generated from.
        video: (V, 3, T, H, W) uint8.
        fps: of the videos.
        layout: ``stack`` puts views one above the other, as published; ``grid`` into a grid.
        settings: for the record.
    """
    images = video.permute(0, 2, 3, 4, 1).numpy()  # (V, T, H, W, 3)
    for camera, frames in zip(given.cameras, images, strict=True):
        write_video(folder / "videos" / camera / f"{given.name}.mp4", frames, fps)
    write_video(tiled_file(folder, given.name), (tile(list(at), layout) for at in images.swapaxes(0, 1)), fps)
    write_png(folder / f"{given.name}.png", comparison_image(given, video))
    facts: dict[str, Any] = {"cameras": list(given.cameras), "captions": list(given.captions), "fps": fps}
    facts |= {"frames": int(video.shape[2]), "psnr_db": frame_psnr(given, video, int(settings["conditional"]))}
    write_json(record_file(folder, given.name), {"settings": dict(settings), **facts})


def tile(images: Sequence[np.ndarray], layout: Layout) -> np.ndarray:
    """Return images (H, W, 3) of one size in one: one above the other, or in rows, rest black."""
    columns = 1 if layout == "stack" else math.ceil(math.sqrt(len(images)))
    rows = [np.concatenate(images[start : start + columns], axis=1) for start in range(0, len(images), columns)]
    return stack_images(rows)


def frame_psnr(given: ViewInput, video: Tensor, conditional: int) -> float | None:
    """Return the PSNR in dB of the generated frames against the recorded ones, over all views; None without these."""
    stop = min(given.frames.shape[2], video.shape[2])
    if stop <= conditional:
        return None
    part = slice(conditional, stop)
    error = (video[:, :, part].double() - given.frames[:, :, part].double()).square().mean()
    return float(psnr_of_error(error))


def comparison_image(given: ViewInput, video: Tensor) -> np.ndarray:
    """Return an image of the views (rows) at some instants (columns); recorded images are above the generated ones."""
    frames = video.shape[2]
    chosen = np.unique(np.linspace(0, frames - 1, _SHOWN).astype(int))
    step = max(1, math.ceil(video.shape[4] / _SHOWN_WIDTH))
    rows = []
    for view in range(len(video)):
        for source in (given.frames, video):
            if source.shape[2] > chosen[-1]:
                shown = source[view][:, chosen, ::step, ::step].permute(1, 2, 3, 0).numpy()
                rows.append(np.concatenate(list(shown), axis=1))
    return stack_images(rows)


def write_page(folder: Path, names: Sequence[str], facts: str) -> Path:
    """Write ``report.html`` with an image of each clip, and return it."""
    report = Report("Generated views", facts)
    for name in names:
        with open_image(folder / f"{name}.png") as image:
            caption = "Views from top to bottom, time from left to right; recorded images above generated ones."
            report.heading(name).image(np.asarray(image.convert("RGB")), caption)
    return report.write(folder / REPORT)
