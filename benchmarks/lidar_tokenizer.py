"""Range errors before and after training from scratch, on held-out sweeps of several datasets.

    python benchmarks/lidar_tokenizer.py --out bench --steps 500 synthetic kitti=path/to/kitti nuscenes=path/to/nuscenes

Each dataset runs through the demo (recordings, shards, training, export, held-out sweeps through the exported files);
the table is printed as Markdown, with the hardware, and ``OUT/results.json`` holds everything at full precision.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import torch
from host import processor

from cosmos_lidar.demo.page import TRAINED
from cosmos_lidar.demo.run import DemoOptions, run_demo
from cosmos_lidar.log import configure

_NAMES = ("before training", TRAINED, "mean training map", "8 x 8 averages")


def main() -> None:
    """Run all datasets and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", help="synthetic, or FORMAT=PATH")
    parser.add_argument("--out", type=Path, required=True, help="folder of all results")
    parser.add_argument("--steps", type=int, help="training steps (default: the demo recipe's)")
    args = parser.parse_args()
    configure()
    measured = {name: measure(name, args.out, args.steps) for name in args.datasets}
    results = {"hardware": hardware(), "datasets": measured}
    (args.out / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    sys.stdout.write(table(results))


def measure(name: str, out: Path, steps: int | None) -> dict:
    """Run the demo on one dataset and return its metrics and the seconds it took."""
    format, _, path = name.partition("=")
    folder = out / format
    started = time.perf_counter()
    options = DemoOptions(folder, Path(path) if path else None, format if path else None, steps=steps)
    if run_demo(options):
        sys.exit(130)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return {"seconds": time.perf_counter() - started, "metrics": metrics}


def hardware() -> str:
    """Return processor, threads and versions of the packages."""
    cores = len(os.sched_getaffinity(0))
    return f"{processor()}, {cores} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, fp32"


def table(results: dict) -> str:
    """Return the results as Markdown."""
    lines = [
        results["hardware"],
        "",
        "| held-out sweeps of | network | RMSE m | MAE m | relative | Chamfer m |",
        "|---|---|---|---|---|---|",
    ]
    for dataset, result in results["datasets"].items():
        for name in _NAMES:
            pooled = result["metrics"][name]["pooled"]
            values = [pooled["published"][key] for key in ("rmse_m", "mae_m", "relative")]
            cells = " | ".join(f"{value:.3f}" for value in [*values, pooled["chamfer"]["mean_m"]])
            lines.append(f"| {dataset.partition('=')[0]} ({pooled['frames']} sweeps) | {name} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
