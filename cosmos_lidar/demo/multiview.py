"""Multi-view video with the embedded network: the next frames of several cameras from one frame of each."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.clip import CameraStream
from cosmos_lidar.clips.common_clock import ClockedRun, common_runs
from cosmos_lidar.clips.fit_images import fit_frames
from cosmos_lidar.clips.view_ids import view_ids
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.demo.section import DemoContext, LeftOutError, Section, embedded_model
from cosmos_lidar.diffusion.samplers import evaluations
from cosmos_lidar.families.multiview.config import MultiviewTrainConfig
from cosmos_lidar.families.multiview.generator import ViewGenerator, ViewSampling, open_view_generator
from cosmos_lidar.families.multiview.inputs import ViewInput
from cosmos_lidar.families.multiview.outputs import frame_psnr
from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.progress import Meter
from cosmos_lidar.training.overrides import config_beside, load_config
from cosmos_lidar.viz.images import caption_image
from cosmos_lidar.viz.report import Report
from cosmos_lidar.viz.video import write_video
from cosmos_lidar.viz.video_figure import video_html

TITLE = "Multi-view video"
MODEL, VAE = "small-multiview", "small-multiview-vae"
_SAMPLING = ViewSampling(steps=1, guidance=0.0)
_SEED = 1
_SHOWN_FPS = 5.0
_ZOOM = 2
_FASTER = 1.1  # times the rate of the network: images are left out


def make_section(recordings: Recordings, context: DemoContext) -> Section:
    """Generate a video of every camera of a drive from its first frame.

    Raises:
        LeftOutError: no cameras, a single one, no frames in common, or a model is not installed.
    """
    clip = recordings.scene
    if clip is None:
        raise LeftOutError("the recordings have no camera")
    if len(recordings.views) < 2:
        raise LeftOutError("the recordings have one camera: several are needed")
    weights, vae = embedded_model(MODEL), embedded_model(VAE)
    run = _configuration(weights)
    chosen = choose_views(clip, recordings.views, run.data.view_ids)
    run.data = replace(run.data, view_ids=list(chosen.values()))
    given = _input(clip, chosen, run)
    generator = open_view_generator(weights, run, vae=vae, sampling=_SAMPLING)
    video = _generate(generator, given)
    numbers = {name: frame_psnr(given, made, _SAMPLING.conditional) for name, made in {
        "generated": video,
        "given frame, repeated": given.frames[:, :, :1].expand(-1, -1, video.shape[2], -1, -1),
        "recorded, through the VAE": _through(generator, given.frames[:, :, : video.shape[2]]),
    }.items()}  # fmt: skip
    path = context.out / "multiview" / "generated.mp4"
    write_video(path, _tiles(given, video), _SHOWN_FPS)
    height, width = run.data.size
    network: Any = generator.flow.network
    size = count_parameters(network) / 1e6
    sentence = (
        f"The embedded network ({size:.1f} M parameters; the published one has 2,000 M) is given the first frame of "
        f"{len(chosen)} cameras and generates {video.shape[2] - 1} more of {width} x {height} pixels. The video is "
        f"shown at {_SHOWN_FPS:g} frames per second, recorded at {given.fps:.0f}."
    )

    def draw(report: Report) -> None:
        report.block(video_html(path, "recorded above, generated below; one frame of each camera given", 0))
        report.table((f"frames 2 to {video.shape[2]}, all cameras", "PSNR dB"), list(numbers.items()))

    return Section(TITLE, sentence, draw, _command(context.data, chosen), numbers)


def choose_views(clip: Clip, cameras: tuple[str, ...], wanted: list[int]) -> dict[str, int]:
    """Return camera -> view id: those of the wanted ids where they are, others for the ids that are left.

    Args:
        clip: with the cameras.
        cameras: names, at least two.
        wanted: view ids that the network was trained with, in its order.

    Returns:
        At most one camera for each id, in the order of ``wanted``.
    """
    known = view_ids([clip.cameras[name] for name in cameras])
    found = {number: name for name, number in known.items() if number in wanted}
    others = iter(name for name in cameras if name not in found.values())
    for number in wanted:
        if number not in found and (name := next(others, None)) is not None:
            found[number] = name
    return {found[number]: number for number in wanted if number in found}


def clock_of(cameras: Sequence[CameraStream], frames: int, fps: float) -> ClockedRun | None:
    """Return the first so many instants at which all cameras have an image, at most ``fps`` a second; None without."""
    rates = [1e6 / max(float(np.median(np.diff(one.timestamps_us))), 1.0) for one in cameras if len(one) > 1]
    faster = len(rates) == len(cameras) and min(rates) > _FASTER * fps
    found = (one for one in common_runs(cameras, fps if faster else 0.0) if len(one) >= frames)
    return next((one[:frames] for one in found), None)


def _configuration(weights: Path) -> MultiviewTrainConfig:
    beside = config_beside(weights)
    return load_config(MultiviewTrainConfig, beside) if beside else MultiviewTrainConfig()


def _input(clip: Clip, chosen: dict[str, int], run: MultiviewTrainConfig) -> ViewInput:
    """Return the first frames of the cameras on one clock, scaled to the size of the network."""
    cameras, count = [clip.cameras[name] for name in chosen], run.data.frames
    clocked = clock_of(cameras, count, run.data.fps)
    if clocked is None:
        raise LeftOutError(f"the cameras have no {count} frames in a row in common")
    videos = []
    with Meter("read views", "images", count * len(cameras)) as meter:
        for camera, numbers in zip(cameras, clocked.numbers, strict=True):
            images = [camera.read(int(number)) for number in numbers]
            videos.append(fit_frames(np.stack(images), run.data.size, run.data.fit))
            meter.advance(count)
    return ViewInput(clip.clip_id, tuple(chosen), torch.stack(videos), None, (), clocked.fps)


def _generate(generator: ViewGenerator, given: ViewInput) -> Tensor:
    with Meter("generate views", "evaluations", evaluations(_SAMPLING.sampler, _SAMPLING.steps)) as meter:
        return generator(given, _SEED, progress=lambda done: meter.advance(done - meter.done))


def _through(generator: ViewGenerator, frames: Tensor) -> Tensor:
    """Return recorded frames (V, 3, T, H, W) uint8, encoded and decoded."""
    video = generator.space.decode(generator.space.encode(frames), len(frames))
    return video.add(1).mul(127.5).add(0.5).clamp(0, 255).to(torch.uint8)


def _tiles(given: ViewInput, video: Tensor) -> Iterator[np.ndarray]:
    """Yield images: recorded views side by side, generated ones below."""
    for number in range(video.shape[2]):
        rows = []
        for source, name in ((given.frames, "recorded"), (video, "given" if number == 0 else "generated")):
            images = source[:, :, number].permute(0, 2, 3, 1).numpy()
            row = np.concatenate([image.repeat(_ZOOM, 0).repeat(_ZOOM, 1) for image in images], axis=1)
            rows.append(caption_image(row, name, 14, 4))
        yield np.concatenate(rows)


def _command(data: Path | None, chosen: dict[str, int]) -> str:
    path = shlex.quote(str(data)) if data else "DATA"
    views = ",".join(f"{name}={number}" for name, number in chosen.items()) if data else "LEFT=5,FRONT=0,RIGHT=1"
    return (
        f"cosmos-lidar prepare {path} views --task multiview --views {shlex.quote(views)}\n"
        "cosmos-lidar generate-views --data views --checkpoint small --vae small --num_steps 1 --guidance 0"
    )
