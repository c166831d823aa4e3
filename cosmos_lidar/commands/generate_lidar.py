"""``cosmos-lidar generate-lidar``: sample lidar sweeps from camera images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import out_folder, whole
from cosmos_lidar.commands._arguments import add_flag, add_image_rule, add_lidar_argument, weights_file, weights_name
from cosmos_lidar.commands._feature_arguments import add_feature_arguments, features_of, print_feature_problems
from cosmos_lidar.weights import name_of

if TYPE_CHECKING:
    from cosmos_lidar.clips import Clip
    from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig
    from cosmos_lidar.families.lidargen.generator import LidarGenerator
    from cosmos_lidar.families.lidargen.inputs import Frame
    from cosmos_lidar.metrics.backbone_features import BackboneFeatures
    from cosmos_lidar.parallel.work_sharing import Share
    from cosmos_lidar.sensors import Sensor

GROUP = "generation"
HELP = "sample lidar range maps and point clouds from camera images"
EXAMPLE = (
    "cosmos-lidar generate-lidar --checkpoint model.pt --images front.jpg left.jpg right.jpg --calibration rig.yaml "
    "--sensor pandar128 --lidar-tokenizer lidar.pt --image-tokenizer video.pt --save-dir results"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options: names and defaults of the published command, where it has them."""
    _add_inputs(parser)
    add_flag(parser, "ddim_iters", "--steps", type=whole(1), default=35, help="steps of the sampler (default 35)")
    add_flag(parser, "sampler", default="2ab", metavar="NAME[,OPTION=VALUE]", help=_samplers())
    add_flag(parser, "schedule", default="karras", help="noise schedule: karras (published, default), flow")
    add_flag(parser, "sigma_min", type=float, default=0.02, help="smallest noise level (default 0.02)")
    add_flag(
        parser, "condition_sigma", type=float, help="noise on the conditioning images (default: sampled, as published)"
    )
    own = "0 of a lidar tokenizer that decodes validity"
    add_flag(parser, "near_buffer", type=float, help=f"meters above the shortest range (default 1.5; {own})")
    add_flag(parser, "far_buffer", type=float, help=f"meters below the longest range (default 10; {own})")
    add_flag(parser, "guidance", type=float, help="accepted, unused: without text it has no effect")
    add_flag(parser, "seed", type=int, default=1, help="seed of the first sample (default 1)")
    add_flag(parser, "compile", action="store_true", help="torch.compile the network")
    add_flag(parser, "device", default="auto", help="auto (default), cpu, cuda …")
    add_flag(parser, "save_dir", type=out_folder, default=Path("results"), metavar="DIR", help="default %(default)s")
    add_flag(parser, "vis", type=int, choices=(0, 1), default=1, help="0 writes no figures and no page (default 1)")
    add_flag(parser, "save_iter", type=whole(1), default=1, metavar="N", help="figure of every N-th sweep (default 1)")
    add_flag(parser, "filter_outlier", action="store_true", help="remove statistical outliers from the point clouds")
    add_flag(
        parser,
        "filter_edges",
        type=float,
        metavar="RATIO",
        help="remove pixels at range discontinuities above this ratio",
    )
    together = "ranks over which the tokens of each sweep are sharded (default 1)"
    add_flag(parser, "context_parallel_size", type=whole(1), default=1, metavar="N", help=together)
    add_feature_arguments(parser)
    add_flag(parser, "dryrun", action="store_true", help="print the plan and exit")


def _samplers() -> str:
    from cosmos_lidar.diffusion.solvers import find_solvers

    lines = []
    for name, solver in find_solvers().items():
        options = "".join(f"; {key}={value:g}" for key, value in solver.options.items())
        lines.append(f"{name} ({solver.help}{options})")
    return f"{', '.join(lines)}; default %(default)s"


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    add_flag(
        parser,
        "checkpoint",
        type=weights_file("small-lidargen"),
        required=True,
        metavar="FILE",
        help="iter_N_ema_model.pt, model.pt, or small, the embedded one",
    )
    add_flag(
        parser,
        "config",
        type=Path,
        metavar="FILE",
        help="configuration of the run (default: config.yaml next to the checkpoint)",
    )
    variant = "variant of recipes/lidargen.py, if there is no config.yaml (default: the published one)"
    add_flag(parser, "experiment", default="text2world_imagetolidar", metavar="NAME", help=variant)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="after --: options of that configuration")
    add_flag(parser, "images", nargs="+", type=Path, metavar="FILE", help="images, in the order of the views")
    add_flag(parser, "calibration", type=Path, metavar="FILE", help="lenses and poses of the cameras of --images")
    add_flag(parser, "data", type=Path, metavar="PATH", help="recordings with cameras, instead of --images")
    add_flag(parser, "cameras", metavar="A,B,C", help="cameras of --data, in the order of the views (default: all)")
    add_flag(
        parser, "n_views", type=whole(1), metavar="N", help="cameras of a ray-conditioned network (default: as trained)"
    )
    add_flag(
        parser,
        "max_frames",
        type=whole(1, or_all=True),
        default=-1,
        help="first frames of each clip of --data (default -1, all)",
    )
    add_flag(parser, "clip", action="append", metavar="ID", help="only this clip of --data (repeatable)")
    add_flag(
        parser,
        "tolerance",
        type=float,
        default=0.06,
        help="largest time from the nearest image to the middle of the sweep, seconds",
    )
    add_image_rule(parser)
    add_flag(
        parser, "sensor", metavar="NAME_OR_FILE", help="the lidar (default: that of --data; of a model folder, its own)"
    )
    add_lidar_argument(parser)
    lidar, image = weights_name("small-lidar-tokenizer"), weights_name("small-image-tokenizer")
    add_flag(parser, "lidar_tokenizer", type=lidar, required=True, metavar="PATH", help="CI tokenizer of range maps")
    add_flag(parser, "image_tokenizer", type=image, required=True, metavar="PATH", help="CI or CV tokenizer of images")
    add_flag(parser, "lidar_mean_std", type=Path, metavar="FILE", help="mean_std.pt of the latents of range maps")
    add_flag(parser, "image_mean_std", type=Path, metavar="FILE", help="mean_std.pt of the latents of images")


def run(args: argparse.Namespace) -> int:
    """Sample sweeps, write them, and compare them with recorded sweeps."""
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.families.lidargen.generate import OutputOptions, generate_frames
    from cosmos_lidar.parallel.devices import choose_device
    from cosmos_lidar.parallel.work_sharing import shared_work

    if bool(args.images) == bool(args.data):
        raise UserError("give --images, in the order of the views, or --data, recordings with cameras")
    if args.feature_checkpoint and not args.data:
        raise UserError("--feature_checkpoint compares with recorded sweeps: give --data instead of --images")
    with shared_work(args.context_parallel_size, choose_device(args.device).type) as share:
        generator, frames = _prepare(args, share)
        if args.dryrun:
            return _say(args, generator, frames)
        first = share.rank == 0 and share.writes
        features = features_of(args, share.device(choose_device(args.device))) if first else None
        output = OutputOptions(args.seed, args.save_iter if args.vis else 0, args.filter_outlier)
        generate_frames(frames, generator, args.save_dir, output, share)
        share.wait()
        return _finish(args, generator, frames, features) if first else 0


def _prepare(args: argparse.Namespace, share: Share) -> tuple[LidarGenerator, list[Frame]]:
    from cosmos_lidar.families.lidargen.generate import SamplingOptions, clip_frames, open_generator
    from cosmos_lidar.families.lidargen.inputs import frame_of_files
    from cosmos_lidar.parallel.devices import choose_device

    options = SamplingOptions(
        args.ddim_iters, args.sigma_min, args.near_buffer, args.far_buffer, args.sampler, args.schedule,
        args.condition_sigma, args.filter_edges,
    )  # fmt: skip
    cameras = args.cameras.split(",") if args.cameras else None
    given = args.images or cameras
    clips = _open_recordings(args) if args.data else []
    generator = open_generator(
        args.checkpoint,
        clips[0].sensor if clips else _lidar(args),
        lidar_tokenizer=args.lidar_tokenizer,
        image_tokenizer=args.image_tokenizer,
        lidar_mean_std=args.lidar_mean_std,
        image_mean_std=args.image_mean_std,
        run=_configuration(args),
        options=options,
        device=share.device(choose_device(args.device)),
        views=len(given) if given else args.n_views,
        compile=args.compile,
        share=share,
    )
    if args.data:
        return generator, clip_frames(clips, generator, cameras, args.tolerance, args.max_frames, args.image_rule)
    return generator, [frame_of_files(args.images, args.calibration, generator)]


def _lidar(args: argparse.Namespace) -> str | Sensor:
    """Return the lidar whose range maps are generated from images: of ``--sensor``, or that in the model's folder.

    Raises:
        UserError: neither.
    """
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.sensors.sensor import parse_sensor
    from cosmos_lidar.weights import CONFIG, config_of

    if args.sensor:
        return args.sensor
    text = config_of(args.checkpoint).get("sensor")
    if not isinstance(text, str):
        raise UserError("--images needs --sensor: the lidar whose range maps are generated")
    return parse_sensor(text, args.checkpoint.with_name(CONFIG))


def _configuration(args: argparse.Namespace) -> LidarGenTrainConfig:
    """Return the configuration of the checkpoint's run; options of the published command without effect are ignored."""
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.families.lidargen.generate import configuration
    from cosmos_lidar.log import logger
    from cosmos_lidar.recipes.registry import find_family
    from cosmos_lidar.training.overrides import apply_overrides

    named = [text.partition("=")[2] for text in args.overrides if text.startswith("experiment=")]
    own = [text for text in args.overrides if not text.startswith(("experiment=", "dataloader_"))]
    experiment, variants = (named or [args.experiment])[-1], find_family("lidargen").recipes
    if experiment not in variants:
        raise UserError(f"--experiment {experiment}: valid: {', '.join(variants)}")
    file = args.config
    if file is not None and file.suffix == ".py":
        logger.warning(
            "--config %s is Python code of the published program, ignored: using --experiment %s", file, experiment
        )
        file = None
    return apply_overrides(configuration(args.checkpoint, file, variants[experiment]()), own)


def _open_recordings(args: argparse.Namespace) -> list[Clip]:
    from cosmos_lidar.clips import open_clips
    from cosmos_lidar.errors import UserError

    clips = open_clips(args.data, sensor=args.sensor, lidar=args.lidar, columns=args.columns)
    if not args.clip:
        return clips
    there = {clip.clip_id: clip for clip in clips}
    unknown = [name for name in args.clip if name not in there]
    if unknown:
        raise UserError(f"--clip {unknown[0]}: not among the {len(there)} clips of {args.data}")
    return [there[name] for name in args.clip]


def _finish(
    args: argparse.Namespace, generator: LidarGenerator, frames: list[Frame], features: BackboneFeatures | None
) -> int:
    from cosmos_lidar.errors import DataError
    from cosmos_lidar.families.lidargen.outputs import compare, sweep_file, write_page

    made = [frame for frame in frames if sweep_file(args.save_dir, frame).is_file()]
    if not made:
        wanted = "images of all cameras, near enough in time (--tolerance)"
        raise DataError("no sweep could be generated", file=args.data, wanted=wanted)
    if len(made) < len(frames):
        missing = ", ".join(frame.name for frame in frames if frame not in made)
        sys.stdout.write(f"{len(frames) - len(made)} of {len(frames)} sweeps skipped: {missing}\n")
    frames = made
    measurements = compare(args.save_dir, frames, generator, features)
    for found in measurements:
        sys.stdout.write(f"{found.name}: {found.value:.4g} ({found.n} sweeps)\n")
    print_feature_problems(features, sum(1 for frame in frames if frame.recorded))
    if measurements:
        sys.stdout.write(f"{args.save_dir / 'metrics.json'}, metrics.csv\n")
    if args.vis:
        steps = f"{args.sampler} with {args.ddim_iters} steps, seed {args.seed}"
        facts = f"{name_of(args.checkpoint)}, {steps}{_images(frames)}"
        sys.stdout.write(f"{write_page(args.save_dir, frames, generator, measurements, facts)}\n")
    sys.stdout.write(f"sweeps, points and figures in {args.save_dir}\n")
    return 0


def _images(frames: list[Frame]) -> str:
    rules = list(dict.fromkeys(frame.image_rule for frame in frames if frame.image_rule))
    return f", images by {' and '.join(rules)}" if rules else ""


def _say(args: argparse.Namespace, generator: LidarGenerator, frames: list[Frame]) -> int:
    from cosmos_lidar.diffusion.samplers import evaluations
    from cosmos_lidar.models.plan import count_parameters

    parameters = count_parameters(generator.denoiser.network)
    count = evaluations(args.sampler, args.ddim_iters)
    sys.stdout.write(
        f"{len(frames)} sweeps of {generator.sensor.name}, first {frames[0].name}{_images(frames)}\n"
        f"network of {parameters:,} parameters, {generator.denoiser.layout}\n"
        f"{args.sampler}, {args.ddim_iters} steps, {count} evaluations, schedule {args.schedule}\n"
    )
    return 0
