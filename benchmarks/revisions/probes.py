"""What ``same_numbers.py`` runs in each revision: command lines, and what is looked at afterwards.

Command lines are the interface that does not change from one revision to the next; nothing here imports the project.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from revisions.observed import Seen, configuration, document, exports, files, metrics, weights
from revisions.tree import Tree

PARTS = ("configs", "synth", "losses", "shards", "exports", "metrics", "resume")
MADE = {"lidar_tokenizer": "drives", "video_tokenizer": "videos", "lidargen": "clips"}
STEPS = ("trainer.max_steps=10", "trainer.val_every=5", "trainer.save_every=5", "log.tensorboard=false")
VIEWS = ("--views", "all", "--image-size", "64x112")
SENSOR = Path(__file__).parents[1] / "small32.yaml"
CANVAS = ("model.canvas.views=2", "model.canvas.lidar=[8,32]", "model.canvas.image=[8,14]", "model.n_views=3",
          "data.latent_shape=[16,3,8,32]")  # fmt: skip
TOKENIZERS = {"lidar_tokenizer": (1, 3, 64, 64), "video_tokenizer": (1, 3, 5, 64, 64)}  # input of the exports
ENCODERS = ("--lidar-tokenizer", "exported/lidar_tokenizer/iter_000000010.pt", "--image-tokenizer",
            "exported/video_tokenizer/iter_000000010.pt", "--lidar-mean-std", "mean_std.pt")  # fmt: skip


@dataclass(frozen=True)
class Probe:
    """Something that both revisions do by themselves.

    Attributes:
        part: one of PARTS.
        name: shown in the table.
        look: does it in a tree and returns what came of it.
        needs: names of the probes that must have run before.
    """

    part: str
    name: str
    look: Callable[[Tree], Seen]
    needs: tuple[str, ...] = ()


def probes(families: list[str]) -> list[Probe]:
    """Return all probes that these families allow, in an order in which what one needs stands before it."""
    known = [family for family in families if family in TOKENIZERS]
    debug = [Probe("losses", f"{name} debug", partial(debug_run, name)) for name in families]
    exported = [
        Probe("exports", f"{name} debug, step 10", partial(export, name, TOKENIZERS.get(name)), (f"{name} debug",))
        for name in families
    ]
    every = [
        *(Probe("configs", name, partial(configurations, name)) for name in families),
        Probe("synth", "3 drives with cameras", synth),
        *debug,
        *exported,
        *(Probe("exports", f"{name} convert", partial(convert, name), (f"{name} debug, step 10",)) for name in known),
        *_data_probes(),
        *_trained_on_data(),
        *_metric_probes(),
    ]
    possible: dict[str, Probe] = {}
    for probe in every:
        if set(probe.needs) <= possible.keys():
            possible[probe.name] = probe
    return list(possible.values())


def with_needs(every: list[Probe], wanted: Iterable[Probe]) -> list[Probe]:
    """Return the wanted probes and all that they need, in order."""
    by_name = {probe.name: probe for probe in every}
    chosen: set[str] = set()
    stack = [probe.name for probe in wanted]
    while stack:
        name = stack.pop()
        if name not in chosen and name in by_name:
            chosen.add(name)
            stack += by_name[name].needs
    return [probe for probe in every if probe.name in chosen]


_DRIVES, _EXPORTED = "3 drives with cameras", tuple(f"{name} debug, step 10" for name in TOKENIZERS)


def _data_probes() -> list[Probe]:
    stats = Probe("metrics", "latents-stats", latents_stats, (_DRIVES, _EXPORTED[0]))
    return [
        Probe("shards", "sweeps", partial(prepare, "sweeps", ()), (_DRIVES,)),
        Probe("shards", "videos", partial(prepare, "videos", ("--videos",)), (_DRIVES,)),
        Probe("shards", "views", partial(prepare, "views", VIEWS), (_DRIVES,)),
        stats,
        Probe("shards", "latents", encode_views, (_DRIVES, *_EXPORTED, stats.name)),
    ]


def _trained_on_data() -> list[Probe]:
    return [
        Probe("losses", name, partial(data_run, name, ".", "runs"), (*needs, f"{name.split(' on ')[0]} debug"))
        for name, (_, needs) in ON_DATA.items()
    ]


# FAMILY on FOLDER: options, and what it needs. Training on data that was prepared, and paths that debug leaves out.
ON_DATA: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "lidar_tokenizer on sweeps": (("trainer.precision=bf16",), ("sweeps",)),
    "video_tokenizer on videos": (("data.frames=1",), ("videos",)),
    "lidargen on latents": ((*CANVAS, "trainer.precision=bf16", "parallel.recompute=full"), ("latents",)),
    "lidargen on views": ((*CANVAS, f"data.tokenizers.lidar={ENCODERS[1]}", f"data.tokenizers.image={ENCODERS[3]}"),
                          ("views", *_EXPORTED)),
}  # fmt: skip


def _metric_probes() -> list[Probe]:
    lidar, video = ((_DRIVES, name) for name in _EXPORTED)
    generate = (_DRIVES, *_EXPORTED, "latents-stats", "lidargen on latents")
    return [
        Probe("metrics", "autoencode", autoencode, lidar),
        Probe("metrics", "evaluate", partial(evaluate, ("--checkpoint", ENCODERS[1])), lidar),
        Probe("metrics", "evaluate, baseline", partial(evaluate, ("--baseline", "resize")), (_DRIVES,)),
        Probe("metrics", "reconstruct", partial(codec, "reconstruct"), video),
        Probe("metrics", "tokenize", partial(codec, "tokenize"), video),
        *(Probe("metrics", f"generate-lidar {name}", partial(generate_lidar, name), generate) for name in SAMPLERS),
    ]


SAMPLERS = ("2ab", "dpm++2m", "ddim", "heun")


def run_folder(name: str, root: str = "runs") -> str:
    """Return the run folder of a name, relative to the scratch folder."""
    return f"{root}/p/g/{name.replace(' ', '_')}"


def log_options(name: str, root: str = "runs") -> tuple[str, ...]:
    """Return the options that make a run write to :func:`run_folder`."""
    return (f"log.root={root}", "log.project=p", "log.group=g", f"log.name={name.replace(' ', '_')}")


def configurations(family: str, tree: Tree) -> Seen:
    """Return the resolved options of every variant of a recipe."""
    seen: Seen = {}
    for variant in tree.variants(family):
        text = tree.recipe(family, f"recipe={variant}", "--dryrun")
        seen |= {f"{variant} {key}": value for key, value in configuration(text).items()}
    return seen


def synth(tree: Tree) -> Seen:
    """Return the files of synthetic drives."""
    shutil.copy(SENSOR, tree.scratch / "small32.yaml")
    size = ("--drives", 3, "--frames", 3, "--sensor", "small32.yaml", "--cameras", "front,left", "--width", 160)
    tree.command("synth", "drives", *size)
    return files(tree.scratch / "drives")


def debug_run(family: str, tree: Tree) -> Seen:
    """Return ten steps of a debug variant, and the shards that it made for itself."""
    tree.recipe(family, "recipe=debug", *STEPS, *log_options(family))
    folder = tree.scratch / run_folder(family)
    made = {f"synthetic/{name}": value for name, value in files(folder / "synthetic").items()}
    return metrics(folder / "metrics.csv") | made


def data_run(name: str, shards: str, root: str, tree: Tree) -> Seen:
    """Return ten steps of FAMILY on a folder of shards below ``shards``; ``name`` is a key of ON_DATA."""
    family, folder = name.split(" on ")
    options = (f"data.path={Path(shards) / folder}", f"synthetic_{MADE[family]}=0", *ON_DATA[name][0])
    tree.recipe(family, "recipe=debug", *options, *STEPS, *log_options(name, root))
    return metrics(tree.scratch / run_folder(name, root) / "metrics.csv")


def export(family: str, shape: tuple[int, ...] | None, tree: Tree) -> Seen:
    """Return what the export of the checkpoint of step 10 holds and computes, and the exports made while training."""
    out, checkpoints = f"exported/{family}", f"{run_folder(family)}/checkpoints"
    tree.command("export", f"{checkpoints}/iter_000000010", "--out", out)
    seen = {f"while training {k}": v for k, v in exports(tree.scratch / checkpoints, shape).items()}
    return seen | exports(tree.scratch / out, shape)


def convert(family: str, tree: Tree) -> Seen:
    """Return the weights of a converted tokenizer."""
    tree.command("convert", f"exported/{family}/iter_000000010.pt", "--out", f"converted/{family}.safetensors")
    return weights(tree.scratch / f"converted/{family}.safetensors")


def prepare(out: str, options: tuple[str, ...], tree: Tree) -> Seen:
    """Return the files that ``prepare`` writes."""
    tree.command("prepare", "drives", out, "--split", "0.67,0.33,0", "--frames-per-sample", 2, *options)
    return files(tree.scratch / out)


def latents_stats(tree: Tree) -> Seen:
    """Return mean and deviation of latents of range maps."""
    tree.command("latents-stats", "drives", "--checkpoint", ENCODERS[1], "--out", "mean_std.pt")
    return weights(tree.scratch / "mean_std.pt")


def encode_views(tree: Tree) -> Seen:
    """Return the shards of encoded frames."""
    sizes = ("--image-size", "64x112", "--split", "0.67,0.33", "--samples-per-shard", 3)
    tree.command("encode-views", "drives", "latents", *ENCODERS, *sizes)
    return files(tree.scratch / "latents")


def autoencode(tree: Tree) -> Seen:
    """Return the videos, range maps, point clouds and metrics of a drive."""
    where = ("--sample_path", "drives", "--output_root", "autoencoded", "--max_frames", 2)
    tree.command("autoencode", *where, "--checkpoint", ENCODERS[1])
    return files(tree.scratch / "autoencoded")


def evaluate(options: tuple[str, ...], tree: Tree) -> Seen:
    """Return the numbers of ``evaluate``."""
    tree.command("evaluate", "--data", "drives", *options, "--output", "evaluation.json")
    return document(tree.scratch / "evaluation.json")


def codec(command: str, tree: Tree) -> Seen:
    """Return the files of ``tokenize`` or ``reconstruct``."""
    videos = sorted((tree.scratch / "drives").rglob("*.mp4"))[:2]
    inputs = [str(path.relative_to(tree.scratch)) for path in videos]
    tree.command(command, *inputs, "--checkpoint", ENCODERS[3], "--out", command)
    return files(tree.scratch / command)


def generate_lidar(sampler: str, tree: Tree) -> Seen:
    """Return the sweeps that a network trained for ten steps generates."""
    out = f"generated/{sampler}"
    network = f"{run_folder('lidargen on latents')}/checkpoints/iter_000000010"
    if not (tree.scratch / "exported/generator").exists():
        tree.command("export", network, "--out", "exported/generator")
    options = ("--data", "drives", "--max_frames", 1, "--steps", 4, "--sampler", sampler, "--condition_sigma", 0.001)
    checkpoint = ("--checkpoint", "exported/generator/iter_000000010_ema_model.pt")
    tree.command("generate-lidar", *checkpoint, *ENCODERS, *options, "--save_dir", out)
    return files(tree.scratch / out)
