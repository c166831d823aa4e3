"""Predicted step times: of the published multi-view trainings beside their published seconds, and of meshes.

    OMP_NUM_THREADS=1 python benchmarks/launch.py                  # both tables
    OMP_NUM_THREADS=1 python benchmarks/launch.py --parts loading  # what decoding and resizing a frame takes here

Nothing is trained: shapes alone, and closed formulas. Published settings: 8 H100 NVL, context 8, one clip per step,
online encoding by the VAE in bf16 in windows of 16 frames, six loader workers per rank.

Loading is that of the published data set class: 29 frames of each camera out of a clip of 198 at 10 Hz; with the usual
key frame interval of the encoder (250) the frames before the window are decoded too, 84.5 on average. One worker is
assumed to have one core. Seconds per megapixel and frame are those of ``--parts loading``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from tables import row, table_head

from cosmos_lidar.families.multiview.job import make_dry_model
from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.recipes import multiview
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.preflight.machines import MACHINES
from cosmos_lidar.training.preflight.mesh_choice import MeshChoice, choices
from cosmos_lidar.training.preflight.step_time import predict_step
from cosmos_lidar.training.preflight.workload import count_sample

# Name -> view ids, latents of a view, seconds per step that the guide gives for 8 H100 NVL.
PUBLISHED: dict[str, tuple[list[int], list[int], float]] = {
    "720p 7 views": ([0, 1, 2, 3, 4, 5, 6], [16, 8, 88, 160], 8.9),
    "720p 5 views": ([4, 5, 0, 1, 2], [16, 8, 88, 160], 6.5),
    "480p 5 views": ([4, 5, 0, 1, 2], [16, 8, 60, 106], 3.5),
}
FRAMES, BEFORE = 29, (198 - 29) / 2  # of a window; decoded before it
CAMERAS = [(1280, 1920)] * 3 + [(886, 1920)] * 2  # Waymo: three to the front, two to the sides
# Seconds on one core of an AMD EPYC: H.264 per megapixel (mean of two videos: 0.0077 and 0.0199), and the published
# resizing of one frame, by height and size.
DECODE_S = 0.0138
RESIZE_S = {(1280, 704): 0.0996, (886, 704): 0.0438, (1280, 480): 0.0376, (886, 480): 0.0217}
GPUS = (8, 16, 32, 64, 128, 256, 512, 1024)


def loading_s(views: int, height: int) -> float:
    """Return the seconds that one worker takes to load a clip of ``views`` cameras; two of five look to the sides."""
    frames = (BEFORE + FRAMES) * DECODE_S
    seconds = sum(frames * h * w / 1e6 + FRAMES * RESIZE_S[h, height] for h, w in CAMERAS)
    return seconds * views / len(CAMERAS)


def published(name: str, *more: str) -> Any:
    """Return the configuration of a published training."""
    views, latents, _ = PUBLISHED[name]
    lists = (f"data.view_ids={views}", f"data.latent_shape={latents}")
    options = "data.path=unused data.workers=6 data.vae.checkpoint=unused data.vae.precision=bf16 data.vae.window=16"
    return apply_overrides(
        multiview.waymo_720p(), [*(text.replace(" ", "") for text in lists), *options.split(), *more]
    )


def count(run: Any) -> Any:
    """Return (plan, work) of a configuration."""
    with torch.device("meta"):
        model = make_dry_model(run)
    return model.network.parallel_plan(), count_sample(model)


def published_rows() -> Iterator[str]:
    """The first table."""
    yield "\nPredicted and published seconds per step, 8 H100 NVL, context 8\n\n"
    yield table_head("training", "published s", "predicted s", "error", "bound by", "computation", "memory", "network",
                     "of these encoding", "loading, meanwhile")  # fmt: skip
    for name, (views, latents, seconds) in PUBLISHED.items():
        run, load_s = published(name), loading_s(len(views), 8 * latents[2])
        plan, work = count(run)
        step = predict_step(run, plan, work, MeshSizes(context=8), MACHINES["h100-nvl"], load_s)
        parts = (step.compute_s, step.memory_s, step.waited_s, step.encoding_s, step.loading_s)
        error = f"{step.seconds / seconds - 1:+.0%}"
        yield row(name, f"{seconds:g}", f"{step.seconds:.2f}", error, step.bound, *(f"{part:.2f}" for part in parts))


def mesh_rows(machines: list[str]) -> Iterator[str]:
    """The second table: for every number of GPUs the fastest mesh, and the fastest of each number of context ranks."""
    run = published("720p 5 views", "data.vae.cache=unused")
    plan, work = count(run)
    yield "\nPredicted: 2 B, 720p, 5 views, cached latents, one clip per group of context ranks\n\n"
    yield table_head(
        "machine", "GPUs", "data_replicate", "data_shard", "context", "tensor", "s/step", "clips/s", "MFU", "bound by"
    )
    for name in machines:
        for gpus in GPUS:
            found = choices(run, plan, work, None, gpus, MACHINES[name])
            for context in (8, 4, 2):
                best = next((one for one in found if one.sizes.context == context), None)
                if best is not None:
                    yield mesh_row(name, gpus, best)


def mesh_row(name: str, gpus: int, one: MeshChoice) -> str:
    """Return the row of a mesh."""
    sizes, step = one.sizes, one.time
    numbers = (sizes.data_replicate, sizes.data_shard, sizes.context, sizes.tensor)
    speeds = f"{step.seconds:.2f}", f"{step.samples_per_s:.3g}", f"{step.mfu:.0%}", step.bound
    return row(name, f"{gpus:,}", *(str(number) for number in numbers), *speeds)


def loading_rows(videos: list[str]) -> Iterator[str]:
    """The third table: processor seconds of one thread."""
    import av
    from torch.nn.functional import interpolate

    torch.set_num_threads(1)
    yield "\n" + table_head("what", "processor s")
    for path in videos:
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            started, frames = time.process_time(), 0
            for _, _frame in zip(range(24), container.decode(stream), strict=False):
                frames += 1
            megapixels = frames * stream.width * stream.height / 1e6
            yield row(f"decode, per megapixel: {path}", f"{(time.process_time() - started) / megapixels:.4f}")
    for height, wanted in RESIZE_S:
        image = torch.randint(0, 256, (1, 3, height, 1920), dtype=torch.uint8)
        size = (wanted, {704: 1280, 480: 848}[wanted])
        seconds = []
        for _ in range(2):
            started = time.process_time()
            out = interpolate(image.float() / 255, size, mode="bilinear", antialias=True)
            (out * 255).clamp(0, 255).to(torch.uint8)
            seconds.append(time.process_time() - started)
        yield row(f"resize {height} x 1920 to {size[0]} x {size[1]}", f"{min(seconds):.4f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("published", "meshes", "loading")
    parser.add_argument("--parts", nargs="+", default=parts[:2], choices=parts)
    parser.add_argument("--machines", nargs="+", default=["h200"], choices=MACHINES)
    parser.add_argument("--videos", nargs="*", default=[], help="that loading decodes")
    args = parser.parse_args()
    tables = {
        "published": published_rows,
        "meshes": lambda: mesh_rows(args.machines),
        "loading": lambda: loading_rows(args.videos),
    }
    for part in args.parts:
        for line in tables[part]():
            sys.stdout.write(line)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
