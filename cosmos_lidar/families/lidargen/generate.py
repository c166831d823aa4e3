"""Generate lidar sweeps from camera images and write them: the Python API of ``cosmos-lidar generate-lidar``.

generator = open_generator(
Path("model.pt"), "pandar128", lidar_tokenizer="lidar.pt", image_tokenizer="video.pt", options=SamplingOptions()
)
frames = generate_clips(open_clips("drives"), generator, Path("results"))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.errors import UserError, problem_of
from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig
from cosmos_lidar.families.lidargen.encode import FrameEncoder
from cosmos_lidar.families.lidargen.generator import LidarGenerator, SamplingOptions, configuration, open_denoiser
from cosmos_lidar.families.lidargen.inputs import Frame, frame_of_files, frames_of_clips
from cosmos_lidar.families.lidargen.outputs import sweep_file, write_image, write_sweep
from cosmos_lidar.families.lidargen.views import ImageRule
from cosmos_lidar.latents.space import LatentSpace, open_space
from cosmos_lidar.log import logger
from cosmos_lidar.metrics.outliers import statistical_inliers
from cosmos_lidar.models.tokenizer.pretrained import from_pretrained
from cosmos_lidar.parallel.apply import share_samples
from cosmos_lidar.parallel.work_sharing import Share
from cosmos_lidar.progress import Meter
from cosmos_lidar.sensors import Sensor, load_sensor

__all__ = [
    "LidarGenerator",
    "OutputOptions",
    "SamplingOptions",
    "configuration",
    "generate_clips",
    "generate_files",
    "generate_frames",
    "open_denoiser",
    "open_generator",
]


@dataclass(frozen=True)
class OutputOptions:
    """What is written of each sweep.

    Attributes:
        seed: of the first sweep; sweep n is sampled with seed + n.
        image_every: write an image (views, range maps, clouds) of every n-th sweep; 0 for none.
        drop_outliers: leave out points that lie apart from all others.
    """

    seed: int = 1
    image_every: int = 0
    drop_outliers: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.image_every < 0:
            raise UserError(f"an image of every {self.image_every} sweeps: expected at least 0")


def open_generator(
    checkpoint: Path,
    sensor: Sensor | str,
    *,
    lidar_tokenizer: str | Path,
    image_tokenizer: str | Path,
    lidar_mean_std: Path | None = None,
    image_mean_std: Path | None = None,
    run: LidarGenTrainConfig | None = None,
    options: SamplingOptions | None = None,
    device: torch.device | str = "cpu",
    views: int | None = None,
    compile: bool = False,
    share: Share | None = None,
) -> LidarGenerator:
    """Open a trained network and its tokenizers.

    Args:
        checkpoint: ``iter_N_ema_model.pt`` of a run, the published ``model.pt``, or the same as safetensors.
        sensor: the lidar whose range maps are generated, or its name or file.
        lidar_tokenizer: CI tokenizer of range maps.
        image_tokenizer: CI or CV tokenizer of images, or a name of the Hugging Face hub.
        lidar_mean_std: ``mean_std.pt`` of the latents of range maps; None: as they are.
        image_mean_std: the same of images.
        run: configuration of the run; None for that beside the checkpoint, or the published one.
        options: of the sampler; None for the published ones.
        device: to compute on: in bf16 on a GPU, in fp32 on the CPU.
        views: cameras, for a ray-conditioned network; None for as many as it was trained with.
        compile: compile the network.
        share: ranks that share the tokens of each sweep; None: this process alone.

    Raises:
        DataError: a file is missing or holds other weights.
        UserError: an unknown sensor.
    """
    device = torch.device(device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    denoiser = open_denoiser(checkpoint, run, device, dtype, views)
    if share is not None and share.context is not None:
        share_samples(denoiser.network, share.context)
    if compile:
        denoiser.network.compile()
    return LidarGenerator(
        denoiser,
        lidar=_open_space(lidar_tokenizer, lidar_mean_std, device),
        image=_open_space(image_tokenizer, image_mean_std, device),
        sensor=sensor if isinstance(sensor, Sensor) else load_sensor(sensor),
        options=options or SamplingOptions(),
    )


def generate_clips(
    clips: Sequence[Clip],
    generator: LidarGenerator,
    folder: Path,
    *,
    cameras: Sequence[str] | None = None,
    tolerance_s: float = 0.06,
    image_rule: ImageRule = "frame_indices",
    frames_per_clip: int = -1,
    output: OutputOptions | None = None,
) -> list[Frame]:
    """Generate the sweeps of recordings with cameras and write them; returns the frames that were written.

    Args:
        clips: recordings of one kind of lidar.
        generator: see :func:`open_generator`.
        folder: for ``CLIP_FRAME.npz`` (range map, points), ``.ply`` and images.
        cameras: in the order of the views; None for all of the first clip.
        tolerance_s: largest time from the nearest image to the middle of the sweep, seconds.
        image_rule: which image belongs to a sweep: the one that the recording names, or the nearest.
        frames_per_clip: first frames of each clip; -1 for all.
        output: what is written.

    Raises:
        DataError: images that do not fit the network.
    """
    frames = clip_frames(clips, generator, cameras, tolerance_s, frames_per_clip, image_rule)
    return generate_frames(frames, generator, folder, output)


def generate_files(
    images: Sequence[Path],
    calibration: Path | None,
    generator: LidarGenerator,
    folder: Path,
    output: OutputOptions | None = None,
) -> list[Frame]:
    """Generate the sweep of images in files and write it as ``sample.npz``, ``sample.ply``.

    Args:
        images: in the order of the views.
        calibration: lenses and places of their cameras; None for networks that are not ray-conditioned.
        generator: see :func:`open_generator`.
        folder: for the files.
        output: what is written.

    Raises:
        DataError: a file cannot be read, or does not fit its camera or the network.
        UserError: a ray-conditioned network, and no calibration.
    """
    return generate_frames([frame_of_files(images, calibration, generator)], generator, folder, output)


def clip_frames(
    clips: Sequence[Clip],
    generator: LidarGenerator,
    cameras: Sequence[str] | None = None,
    tolerance_s: float = 0.06,
    frames_per_clip: int = -1,
    image_rule: ImageRule = "frame_indices",
) -> list[Frame]:
    """Return the frames of recordings, as :func:`generate_clips` takes them."""
    encoder = FrameEncoder(
        lidar=generator.lidar,
        image=generator.image,
        cameras=tuple(cameras or clips[0].cameras),
        image_size=generator.image_size,
        tolerance_s=tolerance_s,
        image_rule=image_rule,
    )
    return frames_of_clips(clips, encoder, generator, frames_per_clip)


def generate_frames(
    frames: Sequence[Frame],
    generator: LidarGenerator,
    folder: Path,
    output: OutputOptions | None = None,
    share: Share | None = None,
) -> list[Frame]:
    """Generate a sweep for each frame and write it; returns the frames that were written by this rank.

    Frames without an image, or without calibration, are skipped with a warning.

    Args:
        frames: of :func:`clip_frames`.
        generator: see :func:`open_generator`.
        folder: for the files.
        output: what is written.
        share: the part of the frames that this rank generates; None: all.

    Raises:
        DataError: images that do not fit the network.
    """
    output, share = output or OutputOptions(), share or Share(0, 1)
    mine = range(share.rank, len(frames), share.world)
    written = []
    with Meter("generate-lidar", "sweeps", len(mine)) as meter:
        for number in mine:
            meter.advance(1)
            if _generate_one(frames[number], number, generator, folder, output, share.writes):
                written.append(frames[number])
    return written


def _generate_one(
    frame: Frame, number: int, generator: LidarGenerator, folder: Path, output: OutputOptions, write: bool
) -> bool:
    if write:  # a file of an earlier run would be taken for this one's, should this one fail
        sweep_file(folder, frame).unlink(missing_ok=True)
    try:
        images, rays = frame.images(), frame.rays()
    except Exception as error:  # one odd frame ends no work on the others
        logger.warning("%s is skipped: %s", frame.name, problem_of(error))
        return False
    made = generator(images, output.seed + number, rays)
    if not write:
        return False
    points = generator.points(made)
    if output.drop_outliers:
        points = points[statistical_inliers(points)]
    write_sweep(folder, frame, made, points)
    if output.image_every and number % output.image_every == 0:
        write_image(folder, frame, generator, made, points)
    return True


def _open_space(checkpoint: str | Path, mean_std: Path | None, device: torch.device) -> LatentSpace:
    return open_space(from_pretrained(str(checkpoint)).to(device), mean_std)
