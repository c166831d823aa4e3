"""``cosmos-lidar encode-views``: encode drives into latents for camera-to-lidar training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import out_folder, whole
from cosmos_lidar.commands._arguments import (
    add_image_rule,
    add_lidar_argument,
    split_shares,
    weights_file,
    weights_name,
)

if TYPE_CHECKING:
    from cosmos_lidar.clips import Clip
    from cosmos_lidar.families.lidargen.alignment import AlignmentFeatures
    from cosmos_lidar.latents.space import LatentSpace

GROUP = "generation"
HELP = "encode range maps and camera images into latents, as shards for recipes/lidargen.py"
EXAMPLE = "cosmos-lidar encode-views drives latents --lidar-tokenizer lidar.pt --image-tokenizer video.pt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add(
        "source",
        metavar="SRC",
        type=Path,
        help="recordings with lidar and cameras, in any format that `inspect` recognizes",
    )
    text = "folder for the shards; the same command again resumes, and encodes what has changed"
    add("out", metavar="OUT", type=out_folder, help=text)
    add("--format", help="reader to use (default: recognized from the files)")
    add("--sensor", help="name or file of the lidar, instead of the reader's choice")
    add_lidar_argument(parser)
    add("--lidar-tokenizer", type=weights_name("small-lidar-tokenizer"), required=True, metavar="PATH",
        help="CI tokenizer of range maps, or small, the embedded one")  # fmt: skip
    add("--image-tokenizer", type=weights_name("small-image-tokenizer"), required=True, metavar="PATH",
        help="CI or CV tokenizer of images, a name on the hub, or small, the embedded one")  # fmt: skip
    add(
        "--lidar-mean-std", type=Path, metavar="FILE", help="mean_std.pt of `latents-stats` (default: no normalization)"
    )
    add("--image-mean-std", type=Path, metavar="FILE", help="the same for images")
    add("--cameras", metavar="A,B,C", help="cameras, in the order of the slots (default: all, in their order)")
    add(
        "--image-size", default="704x1280", metavar="HxW", help="size to scale and crop images to (default %(default)s)"
    )
    add(
        "--tolerance",
        type=float,
        default=0.06,
        metavar="S",
        help="largest time from the nearest image to the middle of the sweep (default 0.06 s)",
    )
    add_image_rule(parser)
    add("--every", type=whole(1), default=1, metavar="N", help="take every N-th frame (default 1)")
    add(
        "--alignment", type=weights_file("small-backbone"), metavar="FILE",
        help="pre-trained lidar backbone (iter_N_backbone.safetensors, pretrained_backbone_also_*.ckpt): its features "
        "become part of the samples, for model.alignment.weight",
    )  # fmt: skip
    add(
        "--alignment-recipe", metavar="NAME", help="variant of also_pretrain with its voxels and inputs (default: "
        "config.yaml beside the backbone)",
    )  # fmt: skip
    add("--mirror", action="store_true", help="add mirrored training frames; for ray-conditioned networks")
    add(
        "--split", type=split_shares, default=(0.9, 0.1, 0.0), metavar="A,B,C",
        help="ratios of drives for train, val and test (default 0.9,0.1,0)",
    )  # fmt: skip
    add("--samples-per-shard", type=whole(1), default=64, metavar="N", help="samples per tar (default 64)")
    add(
        "--bad-budget",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="ratio of frames that may be skipped (default 0.01)",
    )
    add("--device", default="auto", help="auto (default), cpu, cuda …")


def needs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the optional packages that the command needs."""
    return ("megatron.energon",)


def run(args: argparse.Namespace) -> int:
    """Encode the drives; the shapes that a recipe needs are recorded in ``latents.json``."""
    from cosmos_lidar.clips import open_clips
    from cosmos_lidar.clips.rig import save_rig
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.families.lidargen.encode import FrameEncoder
    from cosmos_lidar.shards.frames import FrameFormat, write_frames
    from cosmos_lidar.shards.latents import LATENTS, SAMPLE_TYPE, pack_canvas
    from cosmos_lidar.shards.plan import PrepareOptions

    clips = open_clips(args.source, format=args.format, sensor=args.sensor, lidar=args.lidar, columns=args.columns)
    cameras = tuple(args.cameras.split(",")) if args.cameras else tuple(clips[0].cameras)
    if not cameras:
        raise UserError(f"{args.source} has no cameras")
    lidar = _space(args.lidar_tokenizer, args.lidar_mean_std, args.device)
    image = _space(args.image_tokenizer, args.image_mean_std, args.device)
    encoder = FrameEncoder(
        lidar=lidar, image=image, cameras=cameras, image_size=_size(args.image_size, image), tolerance_s=args.tolerance,
        image_rule=args.image_rule,
    )  # fmt: skip
    layout = encoder.layout(clips[0].sensor)
    settings = {
        "canvas": {"views": layout.views, "lidar": list(layout.lidar), "image": list(layout.image)},
        "latent_shape": [lidar.network.config.latent_channels, 1 + layout.views, *layout.size],
        "cameras": cameras,
        "image_size": encoder.image_size,
        "image_rule": encoder.rules(clips),
        "tolerance_s": encoder.tolerance_s,
        "sensor": clips[0].sensor.name,
        "lidar_tokenizer": args.lidar_tokenizer,
        "image_tokenizer": args.image_tokenizer,
    }
    inputs = {**_hashes("lidar", lidar), **_hashes("image", image)}
    features = _alignment(args, encoder.lidar_step)
    if features is not None:
        settings["alignment"] = {"backbone": features.network.name, "channels": features.network.out_channels,
                                 "tokens": list(features.grid(clips[0].sensor))}  # fmt: skip
        inputs |= _alignment_hash(features)
    options = PrepareOptions(split=args.split, samples_per_shard=args.samples_per_shard, bad_budget=args.bad_budget)

    def pack(clip: Clip, index: int, mirrored: bool) -> dict[str, bytes]:
        along = None if features is None else features(clip, index, mirrored)
        return pack_canvas(encoder(clip, index, mirrored), encoder.rays(clip, index, mirrored), along)

    format = FrameFormat(pack, encoder.state, SAMPLE_TYPE, LATENTS, settings, inputs, args.every, args.mirror)
    counts = write_frames(clips, format, args.out, options)
    rig = encoder.rig(clips[0], 0)
    if rig:
        save_rig(args.out / "rig.yaml", rig)
    shown = ", ".join(f"{split} {count}" for split, count in counts.items())
    sys.stdout.write(
        f"{args.out}: {shown} samples of {layout}\ntrain on them, such as: "
        f"cosmos-lidar train lidargen recipe=small data.path={args.out}\n"
    )
    return 0


def _alignment(args: argparse.Namespace, lidar_step: int) -> AlignmentFeatures | None:
    from cosmos_lidar.commands._feature_arguments import open_features
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.families.lidargen.alignment import AlignmentFeatures
    from cosmos_lidar.parallel.devices import choose_device

    if args.alignment is None:
        if args.alignment_recipe:
            raise UserError("--alignment-recipe needs --alignment, the backbone that it describes")
        return None
    device = choose_device(args.device)
    network, run = open_features(args.alignment, args.alignment_recipe, "--alignment-recipe", device)
    return AlignmentFeatures(network, run.model.voxel_input, run.data.intensity_scale, lidar_step)


def _alignment_hash(features: AlignmentFeatures) -> dict[str, str]:
    """Return what features depend on besides sweeps: weights, voxels, scale of intensities."""
    import hashlib

    from cosmos_lidar.latents.cache import weights_hash

    content = f"{weights_hash(features.network)} {features.given} {features.intensity_scale}"
    return {"alignment_weights": hashlib.sha256(content.encode()).hexdigest()}


def _space(checkpoint: str, mean_std: Path | None, device: str) -> LatentSpace:
    from cosmos_lidar.latents.space import open_space
    from cosmos_lidar.models.tokenizer.pretrained import from_pretrained
    from cosmos_lidar.parallel.devices import choose_device

    return open_space(from_pretrained(checkpoint).to(choose_device(device)), mean_std)


def _hashes(name: str, space: LatentSpace) -> dict[str, str]:
    """Return what latents depend on besides images, as it stands in ``latents.json``."""
    from cosmos_lidar.latents.cache import tensors_hash, weights_hash

    scale = tensors_hash({"mean": space.mean, "std": space.std})
    return {f"{name}_weights": weights_hash(space.network), f"{name}_mean_std": scale}


def _size(text: str, image: LatentSpace) -> tuple[int, int]:
    from cosmos_lidar.errors import UserError

    step = image.network.config.spatial_compression
    try:
        height, width = (int(side) for side in text.split("x"))
    except ValueError as error:
        raise UserError(f"--image-size {text}: expected HxW, such as 704x1280") from error
    if height < step or width < step or height % step or width % step:
        raise UserError(f"--image-size {text}: expected multiples of {step}, the compression of the image tokenizer")
    return height, width
