"""The doctor's findings, and its prediction of memory against what training really took."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.mesh import mesh_sizes
from cosmos_lidar.recipes import dit, lidar_tokenizer
from cosmos_lidar.training.engine import resolved
from cosmos_lidar.training.preflight.doctor import examine
from cosmos_lidar.training.preflight.launch_time import target

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")


@pytest.mark.slow
def test_the_published_transformer_on_eight_gpus(tmp_path: Path) -> None:
    asked = ["recipe=faditv2_7b", "data.path=elsewhere", f"log.root={tmp_path}"]
    report = examine(dit.FAMILY, asked, processes=8, memory_gb=141.0, look_at_data=False)
    assert report.prediction.parameters == 7_234_783_252
    assert report.prediction.weights == pytest.approx(4 * 7_234_783_252 / 8, rel=0.01)
    fits = {finding.topic: finding.ok for finding in report.findings}
    assert fits["memory"]
    tight = examine(dit.FAMILY, asked, processes=8, memory_gb=20.0, look_at_data=False)
    said = {finding.topic: finding for finding in tight.findings}
    assert said["memory"].ok is False
    assert "parallel.recompute=full: " in said["advice"].text
    assert "16 processes with parallel.data_shard=16: " in said["advice"].text


def test_each_prediction_is_told_before_it_is_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level("INFO", "cosmos_lidar"):
        report = examine(dit.FAMILY, ["recipe=debug", f"log.root={tmp_path}"], processes=1, memory_gb=0.001)
    (advice,) = (finding.text for finding in report.findings if finding.topic == "advice")
    told = [record.message for record in caplog.records if "predicting" in record.message]
    assert told[0] == "predicting a step on shapes"
    assert "it does not fit; predicting it with parallel.recompute=full" in told
    assert len(told) >= 1 + len(advice.split("; "))


@pytest.mark.parametrize(("machine", "ok", "text"), [("", False, "0 GB free in"), ("h200", None, "up to 3 at once, ")])
def test_the_disk_of_this_machine_counts_for_runs_on_it(
    machine: str, ok: bool | None, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    options = ["recipe=debug", f"log.root={tmp_path}", "trainer.keep_last=1", "trainer.keep_best=1"]
    report = examine(dit.FAMILY, options, processes=0, memory_gb=100.0, where=target(machine, bool(machine), 0, 0.0))
    (disk,) = (finding for finding in report.findings if finding.topic == "disk")
    assert disk.ok is ok
    assert text in disk.text


@pytest.mark.parametrize(
    ("options", "topic", "text"),
    [
        (["recipe=debug", "parallel.tensor=2"], "recipe", "no layers to split: parallel.tensor=1"),
        (["recipe=debug", "data.path=nowhere"], "data", "no such folder [file nowhere]"),
        (["recipe=debug", "model.checkpoint=missing.pt"], "weights", "model.checkpoint=missing.pt: no such file"),
        (["recipe=debug", "trainer.resume=missing"], "resume", "trainer.resume=missing"),
    ],
)
def test_what_is_in_the_way_is_named(options: list[str], topic: str, text: str) -> None:
    report = examine(lidar_tokenizer.FAMILY, options, processes=0, memory_gb=0.0)
    assert not report.ok
    wrong = [finding for finding in report.findings if finding.ok is False]
    assert [finding.topic for finding in wrong] == [topic]
    assert text in wrong[0].text


def test_a_global_batch_size_that_training_refuses_is_refused_alike(tmp_path: Path) -> None:
    options = ["recipe=debug", "trainer.global_batch_size=6", "parallel.data_shard=2", f"log.root={tmp_path}"]
    run, _ = dit.FAMILY.choose(options)
    with pytest.raises(UserError) as error:
        resolved(run, mesh_sizes(1, 2, 1, 1, 2))
    report = examine(dit.FAMILY, options, processes=2, memory_gb=0.0)
    assert [finding.text for finding in report.findings if finding.ok is False] == [str(error.value)]
    assert "trainer.global_batch_size=6: not a multiple of 4" in str(error.value)
    options[1] = "trainer.global_batch_size=8"
    assert examine(dit.FAMILY, options, processes=2, memory_gb=100.0).ok
