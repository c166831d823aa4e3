"""Energon's own commands and loader on folders that `cosmos-lidar prepare` wrote, as docs/data.md has it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("megatron.energon")

from megatron.energon import WorkerConfig, get_savable_loader, get_val_dataset

from cosmos_lidar.errors import DataError
from cosmos_lidar.log import logger
from cosmos_lidar.shards.check_index import check_indexed
from energon_tasks.captions import SlotTexts
from energon_tasks.cookers import TypedCooker
from energon_tasks.latents import LatentsTaskEncoder
from energon_tasks.multiview import MultiviewTaskEncoder, ViewWindow
from energon_tasks.points import PointsTaskEncoder
from energon_tasks.skips import SkipReport
from energon_tasks.sweeps import LidarTaskEncoder
from energon_tasks.videos import VideoTaskEncoder, Window
from energon_tasks.views import ViewsTaskEncoder, read_views_facts, resolve
from tests.energon_tasks.energon_commands import energon_command, energon_prepare
from tests.energon_tasks.mixes import KINDS, SENSOR, open_loader, signature, take, write

KEPT = ("--split-parts", "train:train-.*", "--split-parts", "val:val-.*")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared")
    for kind in KINDS:
        write(kind, root / kind, kind, 4)
    return root


def prepared_again(folder: Path, to: Path, *words: str) -> Path:
    """A copy of a folder whose index is made again by `energon prepare`."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns(".nv-meta", "*.idx"))
    energon_prepare(to, *words)
    return to


def encoder(kind: str, folder: Path) -> Any:
    report = SkipReport()
    if kind == "sweeps":
        return LidarTaskEncoder(
            SENSOR.format, frame_mode="all", crop="center", crop_width=8, fresh=False, report=report
        )
    if kind == "videos":
        return VideoTaskEncoder(Window(frames=2, size=16), False, 0, report)
    if kind == "views":
        return ViewsTaskEncoder(read_views_facts(resolve(folder, "val")), 8, 0, False, report)
    if kind == "multiview":
        texts = SlotTexts("none", (2, 4))
        return MultiviewTaskEncoder(ViewWindow(frames=2, size=(16, 24)), texts, False, 0, report)
    if kind == "points":
        return PointsTaskEncoder(("intensity",), 0, False, report)
    return LatentsTaskEncoder(0, False, report)


def read_by_energon(kind: str, folder: Path) -> list[tuple]:
    """Batches by Energon's own loader of datasets, with our task encoder."""
    workers = WorkerConfig(rank=0, world_size=1, num_workers=0)
    dataset = get_val_dataset(folder, worker_config=workers, batch_size=1, task_encoder=encoder(kind, folder))
    return [signature(batch) for batch in get_savable_loader(dataset)]


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "latents" else pytest.mark.slow) for kind in KINDS]
)
def test_energon_prepare_leaves_our_shards_trainable(folders: Path, kind: str, tmp_path: Path) -> None:
    """By our loader and by Energon's own, whose dataset.yaml then names no sample type."""
    again = prepared_again(folders / kind, tmp_path / "again", *KEPT, "--sample-type", "CrudeWebdataset")
    assert "sample_type" not in (again / ".nv-meta" / "dataset.yaml").read_text()
    assert take(open_loader(kind, again), 12) == take(open_loader(kind, folders / kind), 12)
    as_prepared = read_by_energon(kind, folders / kind)
    assert len(as_prepared) == (8 if kind == "sweeps" else 2)
    assert read_by_energon(kind, again) == as_prepared


def test_energon_prepare_without_a_dataset_yaml(folders: Path, tmp_path: Path) -> None:
    again = prepared_again(folders / "latents", tmp_path / "again", *KEPT, "--skip-dataset-yaml")
    assert not (again / ".nv-meta" / "dataset.yaml").exists()
    assert take(open_loader("latents", again), 12) == take(open_loader("latents", folders / "latents"), 12)
    assert not check_indexed(again).problems


def test_shards_in_another_split_than_they_were_written_for_are_named(
    folders: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    crude = ("--sample-type", "CrudeWebdataset")
    all_in_one = prepared_again(folders / "latents", tmp_path / "mixed", "--split-ratio", "1,0,0", *crude)
    open_loader("latents", all_in_one)
    assert f"{all_in_one}: split train has shards written for another split: val-000000.tar" in caplog.text
    caplog.clear()
    open_loader("latents", folders / "latents")
    assert "another split" not in caplog.text


def test_samples_of_another_type_are_not_cooked(folders: Path) -> None:
    cooker = TypedCooker(lambda crude: crude, "lidar")
    assert cooker.is_match({"sample_type": "lidar", "weather": "rain"})
    assert cooker.is_match({"weather": "rain"})
    assert not cooker.is_match({"sample_type": "latents"})
    options = {"worker_config": WorkerConfig(rank=0, world_size=1, num_workers=0), "batch_size": 1}
    with pytest.raises(ValueError, match="No cooker found.*latents"):
        get_val_dataset(folders / "latents", task_encoder=encoder("sweeps", folders), **options)
    with pytest.raises(DataError, match="samples of type 'latents'"):
        open_loader("sweeps", folders / "latents")


@pytest.mark.parametrize(
    ("name", "said"), [("info", "sample_type"), ("lint", "No cookers registered"), ("preview", "Validation failed")]
)
def test_what_energons_commands_cannot_do_with_crude_samples(folders: Path, name: str, said: str) -> None:
    """None gets past CrudeWebdataset in Energon 7.4.1; docs/data.md says so, and changes when one does."""
    done = energon_command(name, folders / "latents")
    assert done.exit_code != 0
    assert said in f"{done.output} {done.exception!r}"
