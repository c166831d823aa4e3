"""``cosmos-lidar generate-views``: sample videos of several cameras from first frames and text."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_lidar.arguments import decimal, out_file, out_folder, whole
from cosmos_lidar.commands._arguments import add_flag, weights_file
from cosmos_lidar.weights import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from cosmos_lidar.families.multiview.config import MultiviewDataConfig, MultiviewTrainConfig
    from cosmos_lidar.families.multiview.generator import ViewGenerator
    from cosmos_lidar.families.multiview.inputs import EmbedTexts, ViewInput
    from cosmos_lidar.parallel.work_sharing import Share

GROUP = "generation"
HELP = "sample videos of several cameras from first frames and text"
EXAMPLE = (
    "cosmos-lidar generate-views --checkpoint model.pt --vae wan2_1.pth --data shards --split val --save_dir views"
)
_UNUSED = ("disable_guardrail", "offload_guardrail", "disable_prompt_refiner", "offload_prompt_refiner", "natten")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options: names and defaults of the published program, where it has them."""
    _add_network(parser)
    _add_inputs(parser)
    add_flag(parser, "guidance", type=decimal(), default=7.0, help="g of c + g (c - u); 0 for none (default 7)")
    add_flag(parser, "num_steps", "--steps", type=whole(1), default=35, help="steps of the sampler (default 35)")
    add_flag(
        parser, "sampler", default="2ab", metavar="NAME", help="such as 2ab (default, published), heun, dpm_2m, ddim"
    )
    add_flag(parser, "sigma_max", type=float, default=200.0, help="noise level at the start (default 200)")
    add_flag(parser, "seed", type=int, default=0, help="seed of the noise (default 0)")
    add_flag(parser, "fps", type=decimal(0), default=0.0, help="frame rate of network and videos (default: the clip's)")
    add_flag(parser, "segments", type=whole(1), default=1, metavar="N", help="clips chained to one video (default 1)")
    add_flag(parser, "save_path", type=out_file, metavar="FILE", help="the video of all views, for a single input")
    add_flag(parser, "save_dir", type=out_folder, default=Path("views"), metavar="DIR", help="default %(default)s")
    add_flag(
        parser, "layout", choices=("grid", "stack"), default="grid",
        help="video of all views: in a grid (default), or one above the other, as published",
    )  # fmt: skip
    add_flag(parser, "overwrite", action="store_true", help="replace videos that were made with other settings")
    add_flag(parser, "tile", type=whole(1), metavar="PIXELS", help="decode in tiles of this side, for less memory")
    add_flag(parser, "device", default="auto", help="auto (default), cpu, cuda …")
    add_flag(
        parser,
        "precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="of the network (auto: bf16 on CUDA)",
    )
    together = "ranks over which each clip is sharded (default 1); start as many by torchrun, or a multiple"
    add_flag(parser, "context_parallel_size", "--num_gpus", type=whole(1), default=1, metavar="N", help=together)
    add_flag(parser, "dryrun", action="store_true", help="print the plan and exit")
    add_flag(
        parser, "benchmark", action="store_true",
        help="generate each clip four times and print the mean time of the last three; also of clips that are there",
    )  # fmt: skip
    add_flag(parser, "use_cuda_graphs", action="store_true", help=argparse.SUPPRESS)
    for name in _UNUSED:
        add_flag(parser, name, action="store_true", help=argparse.SUPPRESS)


def _add_network(parser: argparse.ArgumentParser) -> None:
    add_flag(
        parser, "checkpoint", "--dit_path", "--dit-path", type=weights_file("small-multiview"), required=True,
        metavar="FILE", help="weights: iter_N.pt of a run, the published file, safetensors, or small, the embedded one",
    )  # fmt: skip
    add_flag(parser, "load_ema", action="store_true", help="take the EMA weights of a checkpoint that holds both")
    add_flag(
        parser, "lora", type=Path, action="append", default=[], metavar="PATH",
        help="adapters of a run of low-rank updates, in PEFT's names (repeatable)",
    )  # fmt: skip
    add_flag(
        parser,
        "vae",
        type=weights_file("small-multiview-vae"),
        required=True,
        metavar="FILE",
        help="Wan2.1 VAE (tokenizer.pth), or small, the embedded one",
    )
    add_flag(
        parser, "config", type=Path, metavar="FILE", help="config.yaml of the run (default: that of the checkpoint)"
    )
    recipe = "predict2_multiview_2b_720p_10fps_7views_29frames_waymo5views"
    add_flag(
        parser, "experiment", default=recipe, metavar="NAME",
        help="variant of recipes/multiview.py, if there is no config.yaml (default: the published one)",
    )  # fmt: skip
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="after --: options of that configuration")
    add_flag(parser, "model_size", default="", metavar="2B", help="refuse a checkpoint of another network than 2B")
    add_flag(
        parser, "resolution", default="", metavar="N",
        help="720 (704 x 1280) or 480 (480 x 848), instead of the size of the run",
    )  # fmt: skip
    add_flag(parser, "aspect_ratio", default="", metavar="16:9", help="refuse images of another one than 16:9")
    add_flag(
        parser,
        "n_views",
        type=whole(1),
        metavar="N",
        help="views with ids 0 to N - 1, as published (default: the run's)",
    )


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    add_flag(
        parser, "data", type=Path, metavar="DIR", help="shards of `prepare --task multiview`, or the guide's folder"
    )
    add_flag(parser, "split", default="val", help="split of --data (default %(default)s)")
    add_flag(parser, "max_clips", type=whole(1), metavar="N", help="first clips of --data (default: all)")
    add_flag(
        parser, "input_path", "--video", type=Path, nargs="+", default=[], metavar="FILE",
        help="instead of --data: a video of each view, or one that holds all views one after the other",
    )  # fmt: skip
    add_flag(
        parser, "num_conditional_frames", type=int, default=1, metavar="N",
        help="first frames that are given, of each view: 0, 1 (default), 5, 9, …",
    )  # fmt: skip
    add_flag(
        parser, "control", metavar="KIND,KIND",
        help="control videos of --data to generate from: depth, … (default: all that the network takes), or none",
    )  # fmt: skip
    add_flag(parser, "no_sweeps", action="store_true", help="leave out the sweeps of --data that the network takes")
    add_flag(
        parser, "control_path", nargs="+", action="append", default=[], metavar=("KIND", "FILE"),
        help="with --input_path: a kind of control videos, and a video of each view, or one of all (repeatable)",
    )  # fmt: skip
    add_flag(
        parser, "rig", type=Path, metavar="PATH",
        help="with --input_path, for a ray-conditioned network: the cameras, from shards or a file",
    )  # fmt: skip
    add_flag(
        parser, "prompt", default="", metavar="TEXT_OR_FILE",
        help="text; a .txt file with a line for each view; or a file of embeddings",
    )  # fmt: skip
    add_flag(
        parser, "negative_prompt", default="", metavar="TEXT_OR_FILE", help="text to move away from (default: none)"
    )
    add_flag(
        parser, "text_encoder", metavar="NAME", help="T5 encoder of texts: a folder, or google-t5/t5-11b as published"
    )
    add_flag(
        parser, "batch_input_json", type=Path, metavar="FILE",
        help="list of {input_video, prompt, output_video}, instead of --input_path and --prompt",
    )  # fmt: skip


def needs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the optional packages that the command needs."""
    return (*(("megatron.energon",) if args.data else ()), *(("transformers",) if args.text_encoder else ()))


def run(args: argparse.Namespace) -> int:
    """Sample videos and write them; returns the exit status."""
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.families.multiview.generate import ViewOutput, generate_views, weights_record
    from cosmos_lidar.families.multiview.outputs import write_page
    from cosmos_lidar.parallel.devices import choose_device
    from cosmos_lidar.parallel.work_sharing import shared_work

    _check(args)
    device = choose_device(args.device)
    with shared_work(args.context_parallel_size, device.type) as share:
        configuration = _configuration(args)
        generator, precision = _open(args, configuration, share, device)
        if args.dryrun:
            return _print_plan(args, configuration, generator)
        clips, total = _inputs(args, generator)
        folder = args.save_path.parent if args.save_path else args.save_dir
        output = ViewOutput(folder, args.seed, args.fps, args.layout, args.overwrite, args.benchmark)
        weights = weights_record(args.checkpoint, args.load_ema, args.lora, args.vae, precision)
        made = generate_views(clips, generator, output, weights, share, total)
        share.wait()
        if not share.writes:
            return 0
    if not made.written and not made.kept:
        raise UserError(f"no clip could be generated: {'; '.join(made.errors.values()) or 'no clips'}")
    names = [*made.kept, *made.written]
    if share.rank == 0:
        facts = f"{name_of(args.checkpoint)}, {args.sampler} with {args.num_steps} steps, seed {args.seed}"
        sys.stdout.write(f"{write_page(folder, names, facts)}\n")
    sys.stdout.write(f"{len(made.written)} clips generated, {len(made.kept)} were there, in {folder}\n")
    for name, seconds in made.seconds.items():
        sys.stdout.write(f"{name}: {seconds:.2f} s, mean of three runs after one\n")
    for number, problem in made.errors.items():
        sys.stdout.write(f"clip {number} skipped: {problem}\n")
    return 1 if made.errors else 0


def _check(args: argparse.Namespace) -> None:
    from cosmos_lidar.errors import UserError

    if args.use_cuda_graphs:
        raise UserError(
            "--use_cuda_graphs: not supported (the published program takes it without an effect): leave it out; fewer "
            "--steps, --num_gpus and --precision bf16 shorten sampling"
        )
    given = [name for name in ("data", "input_path", "batch_input_json") if getattr(args, name)]
    if len(given) > 1:
        raise UserError(f"--{given[0]} and --{given[1]}: give one of them")
    if not given and args.num_conditional_frames:
        raise UserError("give --data or --input_path, or --num_conditional_frames 0")
    if args.control and not args.data:
        raise UserError("--control takes control videos of --data: give those of files by --control_path KIND FILE …")
    if args.control_path and not args.input_path:
        raise UserError("--control_path: control videos of files need --input_path")
    if args.rig and args.data:
        raise UserError("--rig: clips of --data have their own calibration: leave it out")
    if args.save_path and (args.data or args.batch_input_json):
        raise UserError("--save_path is for a single input: use --save_dir")
    if args.save_path and args.save_path.suffix != ".mp4":
        raise UserError(f"--save_path {args.save_path}: expected a name that ends in .mp4")
    if args.data and args.prompt:
        raise UserError("--prompt: clips of --data have captions of their own (`cosmos-lidar embed-captions`)")


def _configuration(args: argparse.Namespace) -> MultiviewTrainConfig:
    """Return the configuration of the checkpoint's run, with the overrides; adapters are merged, so without LoRA."""
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.families.multiview.config import MultiviewTrainConfig
    from cosmos_lidar.families.multiview.generator import find_configuration
    from cosmos_lidar.families.multiview.published_options import check_model_size, size_overrides
    from cosmos_lidar.recipes.registry import find_family
    from cosmos_lidar.training.overrides import apply_overrides, load_config

    variants = find_family("multiview").recipes
    if args.experiment not in variants:
        raise UserError(f"--experiment {args.experiment}: valid: {', '.join(variants)}")
    file = find_configuration(args.checkpoint, args.config)
    found = load_config(MultiviewTrainConfig, file) if file else variants[args.experiment]()
    check_model_size(args.model_size, found)
    own = [*size_overrides(args.resolution, args.aspect_ratio, found), *args.overrides]
    if args.n_views is not None and args.n_views != found.data.views:
        own.append(f"data.view_ids={list(range(args.n_views))}".replace(" ", ""))
    configuration = apply_overrides(found, own)
    configuration.model.lora.rank = 0
    return configuration


def _open(
    args: argparse.Namespace, configuration: MultiviewTrainConfig, share: Share, device: Any
) -> tuple[ViewGenerator, str]:
    import torch

    from cosmos_lidar.families.multiview.generator import ViewSampling, open_view_generator
    from cosmos_lidar.families.multiview.inputs import text_slots

    precision = args.precision
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" else "fp32"
    sampling = ViewSampling(
        args.num_steps, args.guidance, args.num_conditional_frames, args.segments, args.sampler, args.sigma_max
    )
    negative, _ = text_slots(args.negative_prompt, configuration.data, _embedder(args))
    generator = open_view_generator(
        args.checkpoint,
        configuration,
        vae=args.vae,
        sampling=sampling,
        ema=args.load_ema,
        adapters=args.lora,
        device=share.device(device),
        dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
        share=share,
        tile=args.tile,
        negative=negative,
    )
    return generator, precision


def _inputs(args: argparse.Namespace, generator: ViewGenerator) -> tuple[Iterable[Callable[[], ViewInput]], int]:
    from cosmos_lidar.families.multiview.inputs import input_of_files, inputs_of_data, text_slots
    from cosmos_lidar.families.multiview.stored_rig import read_rig_rays

    data, count = generator.data, args.num_conditional_frames
    total = generator.sampling.total_frames(data.frames)
    if args.data:
        network: Any = generator.flow.network
        with_rays, controls = bool(network.config.ray_channels), _controls(args, generator)
        sweeps = generator.sweeps if not args.no_sweeps else ()
        frames = total if controls or sweeps else 0
        found = inputs_of_data(data, args.data, args.split, args.max_clips, with_rays, controls, frames, sweeps)
        return (partial(_same, given) for given in found), args.max_clips or 0
    embed = _embedder(args)

    drawn = {kind: [Path(file) for file in files] for kind, *files in args.control_path}
    rays = read_rig_rays(args.rig, data.view_ids, data.size) if args.rig else None

    def one(name: str, files: list[Path], prompt: str) -> ViewInput:
        text, captions = text_slots(prompt, data, embed)
        return input_of_files(name, files, data, count, text, captions, drawn, total, rays)

    if args.batch_input_json:
        jobs = _read_jobs(args.batch_input_json)
        return [partial(one, *job) for job in jobs], len(jobs)
    name = args.save_path.stem if args.save_path else args.input_path[0].stem if args.input_path else "generated"
    return [partial(one, name, args.input_path, args.prompt)], 1


def _controls(args: argparse.Namespace, generator: ViewGenerator) -> tuple[str, ...]:
    """Return the kinds of control videos to take from the data."""
    from cosmos_lidar.errors import UserError

    known = generator.controls
    kinds = known if args.control is None else tuple(args.control.split(",")) if args.control != "none" else ()
    unknown = next((kind for kind in kinds if kind not in known), None)
    if unknown is not None:
        raise UserError(f"--control {unknown}: the network takes {', '.join(known) or 'no control videos'}")
    return kinds


def _same(given: ViewInput) -> ViewInput:
    return given


def _read_jobs(path: Path) -> list[tuple[str, list[Path], str]]:
    """Return (name, videos, prompt) of the entries of a file."""
    from cosmos_lidar.errors import DataError
    from cosmos_lidar.files import parse_json, read_text

    wanted = "a list of {input_video, prompt, output_video}"
    try:
        found = parse_json(read_text(path))
    except ValueError as error:
        raise DataError(f"not JSON: {error}", file=path, wanted=wanted) from error
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DataError("not a list of entries", file=path, wanted=wanted)
    jobs = []
    for number, entry in enumerate(found):
        videos = entry.get("input_video", [])
        videos = [videos] if isinstance(videos, str) else videos
        name, prompt = entry.get("output_video", f"output_{number}.mp4"), entry.get("prompt", "")
        if not isinstance(videos, list) or not all(isinstance(text, str) for text in (*videos, name, prompt)):
            raise DataError("expected texts", file=path, key=str(number), wanted=wanted)
        jobs.append((Path(name).stem, [path.parent / video for video in videos], prompt))
    names = [name for name, _, _ in jobs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"two entries write {twice}.mp4", file=path, wanted="an output_video of its own for each")
    return jobs


def _embedder(args: argparse.Namespace) -> EmbedTexts | None:
    """Return what embeds texts, loaded when it is first called; None without an encoder."""
    if not args.text_encoder:
        return None

    def embed(texts: Any) -> list[Tensor]:
        from cosmos_lidar.models.text_encoder import load_text_encoder
        from cosmos_lidar.parallel.devices import choose_device

        return load_text_encoder(args.text_encoder, device=choose_device(args.device)).encode(texts)

    return embed


def _print_plan(args: argparse.Namespace, configuration: MultiviewTrainConfig, generator: ViewGenerator) -> int:
    from cosmos_lidar.diffusion.samplers import evaluations
    from cosmos_lidar.models.plan import count_parameters

    data: MultiviewDataConfig = configuration.data
    count = evaluations(args.sampler, args.num_steps) * (2 if args.guidance else 1) * args.segments
    network: Any = generator.flow.network
    height, width = data.size
    sys.stdout.write(
        f"{data.views} views {data.view_ids} of {data.frames} frames of {height} x {width}, "
        f"{args.num_conditional_frames} given\n"
        f"network of {count_parameters(network):,} parameters, {len(args.lora)} adapters\n"
        f"{args.sampler}, {args.num_steps} steps, {count} evaluations of the network per clip\n"
    )
    return 0
