"""The benchmarks of multi-view diffusion: published FLOPs, what the tables hold, reprojection of rendered windows."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from cosmos_lidar.models.dit import build_dit
from tests.workers.client import python, torchrun

pytest.importorskip("nemo")
FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_every_table_on_a_toy() -> None:
    done = python(FOLDER / "multiview.py", "--tiny", "--json", "--scopes", "all_views", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (full,) = found["flops"]
    tokens, width, blocks, views = 5 * 8 * 30 * 53, 2048, 28, 5
    assert full["tokens"] == tokens
    linear = 28 * width**2 * tokens + 4 * 512 * width * tokens + 4096 * width * 512 * views
    assert full["step_pflop"] == pytest.approx(3 * blocks * (linear + 4 * width * tokens**2) / 1e15, rel=0.005)
    assert full["vae_pflop"] == pytest.approx(5 * 6.02e13 / 1e15, rel=0.01)
    assert full["published_share"] == pytest.approx(0.124, abs=0.001)
    assert full["on_one_s"] == pytest.approx(1e3 * full["step_pflop"] / (0.4 * 989))
    whole, lora = found["step"]
    assert (whole["kind"], lora["kind"]) == ("full", "lora")
    assert lora["trained"] < whole["trained"] == 377_041
    assert 0 < lora["tflop"] < whole["tflop"]
    assert min(whole["step_s"], lora["step_s"]) > 0
    (vae,) = found["vae"]
    assert min(vae["encode"], vae["decode"]) > 0


@pytest.fixture
def drives(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("multiview_drives")


def test_reprojection_of_a_rendered_window(drives: ModuleType) -> None:
    layout = drives.Layout(frames=2, height=64, width=96, windows=1)
    (window,) = drives.record(layout, 3)
    images, made = drives.averaged_images(window), drives.motion_compensated(layout, window)
    errors = np.square(made - images).mean(axis=(0, 2, 3, 4)), np.square(images[:, :1] - images).mean(axis=(0, 2, 3, 4))
    assert errors[0][1] < 0.6 * errors[1][1]
    space = drives.AveragingSpace()
    latents = space.encode(window.video)
    assert list(latents.shape) == [12, 3 * 2, 8, 12]
    back = (space.decode(latents, 3).permute(0, 2, 3, 4, 1).numpy() + 1) * 127.5
    assert np.abs(back - images).max() < 1e-3
    points = drives.static_points(layout, window)
    assert [(seen.frame, seen.views) for seen in points] == [(1, (0, 1)), (1, (1, 2))]
    assert min(len(seen.uv[0]) for seen in points) > 50
    for seen in points:  # the rig looks 45 degrees apart, and 70 wide: right part of a view, left part of the next
        assert seen.uv[0][:, 0].min() > 48 > seen.uv[1][:, 0].max()
    own = drives.color_differences(images, points)
    swapped = drives.color_differences(images[::-1], points)
    assert np.square(own).mean() < 0.5 * np.square(swapped).mean()


@pytest.mark.slow  # trains and samples
def test_the_proof_rehearsed(tmp_path: Path) -> None:
    done = python(FOLDER / "multiview_proof.py", tmp_path, "--tiny", "--scopes", "same_view_or_frame",
                  "--controls", "none", "depth")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads((tmp_path / "results.json").read_text())["rows"]}
    assert len(rows) == 7
    repeated, reprojected, recorded, sampled, mixed, controlled, _ = rows.values()
    assert repeated["gain_db"] == 0
    assert reprojected["mean_db"] > repeated["mean_db"]
    assert recorded["mean_db"] > 70
    assert sampled["name"] == "same_view_or_frame, 2ab, 2 evaluations"
    assert mixed["name"] == "same_view_or_frame, 2ab, 2 evaluations, middle view of another sample"
    assert mixed["views_rms"] > repeated["views_rms"]
    assert controlled["name"] == "same_view_or_frame, depth given, 2ab, 2 evaluations"
    assert done.stdout.count("| same_view_or_frame, ") == 4


def test_ranks_load_their_shards_of_a_published_file(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = build_dit("predict2_2b_multiview", model_channels=128, num_blocks=1, num_heads=1)
    torch.save({f"net.{name}": value for name, value in network.state_dict().items()}, tmp_path / "model.pt")
    size = "--width", "128", "--blocks", "1"
    done = torchrun(2, FOLDER / "multiview_loading.py", "--file", tmp_path / "model.pt", *size)
    assert done.returncode == 0, done.stderr
    ranks = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [rank["same"] for rank in ranks] == [True, True]
    whole = sum(value.nbytes for value in network.state_dict().values()) / 2**20
    assert sum(rank["share_mib"] for rank in ranks) == pytest.approx(whole, rel=0.02)
