"""The benchmark of predicted step times: loading by its formula, rows of meshes, the published trainings."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from cosmos_lidar.parallel.mesh import MeshSizes

pytest.importorskip("nemo")
FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("launch")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_loading_decodes_from_the_first_frame_and_resizes_the_window(launch: ModuleType) -> None:
    decoded = (84.5 + 29) * 0.0138 * (3 * 1280 * 1920 + 2 * 886 * 1920) / 1e6
    resized = 29 * (3 * 0.0996 + 2 * 0.0438)
    assert launch.loading_s(5, 704) == pytest.approx(decoded + resized)
    assert launch.loading_s(7, 704) == pytest.approx(1.4 * launch.loading_s(5, 704))
    assert launch.loading_s(5, 480) < launch.loading_s(5, 704)


def test_a_mesh_of_the_table_is_the_fastest_of_its_context(launch: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    run = launch.published("480p 5 views", "data.vae.cache=unused", "model.name=predict2_debug_multiview",
                           "data.view_ids=[0,1]", "data.latent_shape=[16,2,8,8]", "data.text_shape=[8,64]")  # fmt: skip
    plan, work = launch.count(run)
    found = launch.choices(run, plan, work, None, 8, launch.MACHINES["h200"])
    monkeypatch.setattr(launch, "published", lambda *names: run)
    monkeypatch.setattr(launch, "GPUS", (8,))
    rows = [cells(line) for line in launch.mesh_rows(["h200"]) if line.startswith("| h200")]
    assert [int(row[4]) for row in rows] == [n for n in (8, 4, 2) if any(one.sizes.context == n for one in found)]
    for row in rows:
        same = [one for one in found if one.sizes.context == int(row[4])]
        best = max(same, key=lambda one: one.time.samples_per_s)
        assert MeshSizes(*map(int, row[2:6])).world == 8
        assert float(row[7]) == pytest.approx(best.time.samples_per_s, rel=0.01)


def test_every_published_training_is_within_a_quarter(launch: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest one: counting takes seconds for each."""
    name = "480p 5 views"
    monkeypatch.setattr(launch, "PUBLISHED", {name: launch.PUBLISHED[name]})
    (row,) = [cells(line) for line in launch.published_rows() if line.startswith(f"| {name}")]
    assert (float(row[1]), row[4]) == (3.5, "data loading")
    assert 0.75 < float(row[2]) / 3.5 < 1.25
    assert float(row[2]) == pytest.approx(launch.loading_s(5, 480) / 6, rel=0.01)  # six workers
