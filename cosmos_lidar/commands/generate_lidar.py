"""``cosmos-lidar generate-lidar``: a lidar sweep from camera pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.inference.arguments import add_flag

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from cosmos_lidar.inference.lidargen_sample import LidarGenerator

HELP = "sample lidar range maps and point clouds from camera pictures with a trained network"
EXAMPLE = (
    "cosmos-lidar generate-lidar --checkpoint model.pt --images front.jpg left.jpg right.jpg --sensor pandar128 "
    "--lidar-tokenizer lidar.pt --image-tokenizer video.pt --save-dir results"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; names and defaults of the published command where it has them."""
    add_flag(parser, "checkpoint", type=Path, required=True, metavar="FILE", help="iter_N_ema_model.pt, or model.pt")
    add_flag(parser, "config", type=Path, metavar="FILE", help="of the run (default: config.yaml beside it)")
    add_flag(parser, "images", nargs="+", type=Path, metavar="FILE", help="pictures, in the order of the views")
    add_flag(parser, "data", type=Path, metavar="PATH", help="recordings with cameras, instead of --images")
    add_flag(parser, "cameras", metavar="A,B,C", help="of --data, in the order of the views (default: all)")
    add_flag(parser, "sensor", metavar="NAME_OR_FILE", help="the lidar (default: that of --data)")
    add_flag(parser, "lidar_tokenizer", required=True, metavar="PATH", help="CI tokenizer of range maps")
    add_flag(parser, "image_tokenizer", required=True, metavar="PATH", help="CI or CV tokenizer of pictures")
    add_flag(parser, "lidar_mean_std", type=Path, metavar="FILE", help="mean_std.pt of the range maps' latents")
    add_flag(parser, "image_mean_std", type=Path, metavar="FILE", help="mean_std.pt of the pictures' latents")
    add_flag(parser, "save_dir", type=Path, default=Path("results"), metavar="DIR", help="default %(default)s")
    add_flag(parser, "ddim_iters", "--steps", type=int, default=35, help="steps of the sampler (default 35)")
    add_flag(parser, "sigma_min", type=float, default=0.02, help="noise of the last evaluation (default 0.02)")
    add_flag(parser, "near_buffer", type=float, default=1.5, help="metres above the shortest range (default 1.5)")
    add_flag(parser, "far_buffer", type=float, default=10.0, help="metres below the longest range (default 10)")
    add_flag(parser, "guidance", type=float, help="accepted and not used: without text it changes nothing")
    add_flag(parser, "seed", type=int, default=1, help="of the first sample (default 1)")
    add_flag(parser, "max_frames", type=int, default=-1, help="of each clip of --data (default -1, all)")
    add_flag(parser, "tolerance", type=float, default=0.06, help="picture to middle of the sweep, seconds")
    add_flag(parser, "device", default="auto", help="auto (default), cpu, cuda …")


def run(args: argparse.Namespace) -> int:
    """Sample, write, and where there is a recorded sweep, compare."""
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.metrics.generation import GenerationScores
    from cosmos_lidar.metrics.protocol import write_measurements
    from cosmos_lidar.progress import Meter

    if bool(args.images) == bool(args.data):
        raise UserError("give --images, pictures in the order of the views, or --data, recordings with cameras")
    generator, jobs = _prepare(args)
    scores, compared = GenerationScores(), 0
    with Meter("generate-lidar", "sweeps", 0) as meter:
        for number, (clip, name, pictures, recorded) in enumerate(jobs):
            made = generator(pictures, args.seed + number)
            points = generator.points(made)
            _write(args.save_dir, name, made, points, recorded)
            if recorded is not None:
                scores.add(clip, recorded, made, generator.points(recorded), points)
                compared += 1
            meter.advance(1)
    if compared:
        measurements = scores.result()
        files = write_measurements(args.save_dir, measurements)
        for found in measurements:
            sys.stdout.write(f"{found.name}: {found.value:.4g} ({compared} sweeps)\n")
        sys.stdout.write(f"{', '.join(map(str, files))}\n")
    sys.stdout.write(f"sweeps, points and pictures in {args.save_dir}\n")
    return 0


def _prepare(args: argparse.Namespace) -> tuple[LidarGenerator, Iterator]:
    """Return the generator, and (clip, name, pictures, recorded range map or None) of each sweep to make."""
    import torch

    from cosmos_lidar.clips import open_clips
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.inference.lidargen_encode import FrameEncoder, open_space
    from cosmos_lidar.inference.lidargen_sample import LidarGenerator, SamplingOptions, open_denoiser
    from cosmos_lidar.inference.setup import choose_device
    from cosmos_lidar.models.tokenizer.pretrained import from_pretrained
    from cosmos_lidar.sensors import load_sensor

    options = SamplingOptions(args.ddim_iters, args.sigma_min, args.near_buffer, args.far_buffer)
    device = choose_device(args.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    denoiser = open_denoiser(args.checkpoint, args.config, device, dtype)
    lidar = open_space(from_pretrained(args.lidar_tokenizer).to(device), args.lidar_mean_std)
    image = open_space(from_pretrained(args.image_tokenizer).to(device), args.image_mean_std)
    step = image.network.config.spatial_compression
    size = tuple(side * step for side in denoiser.layout.image)
    if args.images:
        if not args.sensor:
            raise UserError("--images needs --sensor: the lidar whose range maps the network makes")
        generator = LidarGenerator(denoiser, lidar, image, load_sensor(args.sensor), options)
        return generator, iter([("", "sample", _read_pictures(args.images, size), None)])
    clips = open_clips(args.data, sensor=args.sensor)
    names = tuple(args.cameras.split(",")) if args.cameras else tuple(clips[0].cameras)
    encoder = FrameEncoder(lidar, image, names, size, args.tolerance)
    generator = LidarGenerator(denoiser, lidar, image, clips[0].sensor, options)
    return generator, _of_clips(clips, encoder, generator, args.max_frames)


def _of_clips(clips: list, encoder: object, generator: LidarGenerator, most: int) -> Iterator:
    import torch

    for clip in clips:
        for index in range(len(clip) if most < 0 else min(most, len(clip))):
            pictures = torch.cat([encoder.picture(clip, name, index) for name in encoder.cameras])
            name = f"{clip.clip_id}_{clip.frame_ids[index]}".replace("/", "_")
            yield clip.clip_id, name, pictures, generator.recorded(clip.range_map(index))


def _read_pictures(files: list[Path], size: tuple[int, int]) -> Tensor:
    import numpy as np
    import torch

    from cosmos_lidar.inference.lidargen_encode import fit_picture
    from cosmos_lidar.inference.video_files import open_footage

    return torch.cat([fit_picture(np.concatenate(list(open_footage(file).blocks()))[0], size) for file in files])


def _write(folder: Path, name: str, made: np.ndarray, points: np.ndarray, recorded: np.ndarray | None) -> None:
    """Write the range map and the points as npz, the points as ply, and a picture (the recorded map above)."""
    import numpy as np

    from cosmos_lidar.viz.pictures import stack_pictures, write_png
    from cosmos_lidar.viz.point_files import write_ply
    from cosmos_lidar.viz.range_map import range_map_image
    from cosmos_lidar.viz.whole_file import whole_file

    with whole_file(folder / f"{name}.npz") as partial, partial.open("wb") as file:
        np.savez_compressed(file, range_m=made, points=points)
    write_ply(folder / f"{name}.ply", points)
    maps = [("generated", made)] if recorded is None else [("recorded", recorded), ("generated", made)]
    pictures = [range_map_image(range_m, row_scale=2, caption=title) for title, range_m in maps]
    write_png(folder / f"{name}.png", stack_pictures(pictures))
