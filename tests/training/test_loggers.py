"""Loggers with the real libraries: what they hold after a run, and after a resume, is one run without gaps."""

from __future__ import annotations

import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from cosmos_lidar import extras
from cosmos_lidar.errors import UserError
from cosmos_lidar.recipes import dit
from cosmos_lidar.training import loggers
from cosmos_lidar.training.config import LogConfig
from tests.training.debug_runs import losses, small

ALL = ("log.tensorboard=true", "log.wandb=true", "log.mlflow=true", "trainer.log_every=1", "trainer.save_every=4")


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log to files, whatever the environment says."""
    for variable in ("WANDB_RUN_ID", "WANDB_PROJECT_NAME", "WANDB_API_KEY", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of eight steps, in two sessions of four, with every logger."""
    with pytest.MonkeyPatch.context() as patch:
        no_servers.__wrapped__(patch)
        root = tmp_path_factory.mktemp("tracked") / "what ${looks} like interpolation"
        dit.train(small(root, *ALL, "trainer.max_steps=4"))
        return dit.train(small(root, *ALL, "trainer.max_steps=8")).folder


def expected(folder: Path) -> dict[int, float]:
    return {int(step): float(loss) for step, loss in losses(folder)}


def test_metrics_csv_has_every_step_once(resumed: Path) -> None:
    assert [int(step) for step, _ in losses(resumed)] == list(range(1, 9))


def test_tensorboard_has_one_run(resumed: Path) -> None:
    assert curve(resumed / "logs" / "tensorboard") == pytest.approx(expected(resumed))
    folders = {file.parent for file in resumed.rglob("events.out.tfevents.*")}
    assert folders == {resumed / "logs" / "tensorboard"}


def curve(folder: Path) -> dict[int, float]:
    """Return step -> loss of a TensorBoard run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {event.step: event.value for event in events.Scalars("loss")}


def test_wandb_has_one_run(resumed: Path) -> None:
    folders = sorted((resumed / "logs" / "wandb").glob("offline-run-*"))
    assert len(folders) == 2  # a folder for each session, which `wandb sync` puts together by the run's id
    run = json.loads((resumed / "logs" / "trackers.json").read_text())["wandb"]
    found: dict[int, float] = {}
    for folder in folders:
        assert folder.name.endswith(run)
        found |= wandb_curve(folder / f"run-{run}.wandb")
    assert found == pytest.approx(expected(resumed))
    import wandb

    assert wandb.run is None  # closed: the next run in this process gets its own


def wandb_curve(file: Path) -> dict[int, float]:
    """Return step -> loss of wandb's transaction log."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = {}
    for content in transactions(file.read_bytes()):
        record = Record.FromString(content)
        items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        if "loss" in items:
            found[int(items["trainer/global_step"])] = float(items["loss"])
    return found


def transactions(data: bytes) -> Iterator[bytes]:
    """Yield the records of a log in LevelDB's format: blocks of 32 KiB, parts with a header of seven bytes."""
    at, record = 7, b""  # after the header of the file
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        record += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or its last part
            yield record
            record = b""


def test_mlflow_has_one_run(resumed: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{resumed / 'logs' / 'mlflow.db'}")
    (experiment,) = (one for one in client.search_experiments() if one.name == "posttraining")
    (run,) = client.search_runs([experiment.experiment_id])
    history = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "loss")}
    assert history == pytest.approx(expected(resumed))
    assert (run.info.run_name, run.info.status) == ("debug", "FINISHED")
    assert run.info.run_id == json.loads((resumed / "logs" / "trackers.json").read_text())["mlflow"]


def started(log: LogConfig, folder: Path, resumed_at: int | None = None) -> Trainer:
    trainer = Trainer(logger=False, accelerator="cpu")
    loggers.start_loggers(trainer, log, folder, resumed_at)
    return trainer


def test_without_loggers_nothing_is_made(tmp_path: Path) -> None:
    assert started(LogConfig(tensorboard=False), tmp_path / "logs").loggers == []
    assert not (tmp_path / "logs").exists()


def test_tensorboard_hides_steps_that_are_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "nemo.utils.exp_manager", None)  # importing it costs a second, and now raises
    for resumed_at, steps, loss in ((None, range(1, 7), 1.0), (4, range(5, 9), 2.0)):
        (tracker,) = started(LogConfig(), tmp_path / "logs", resumed_at).loggers
        assert type(tracker).__name__ == "TensorBoardLogger"
        for step in steps:
            tracker.log_metrics({"loss": loss}, step=step)
        tracker.finalize("success")
    assert curve(tmp_path / "logs" / "tensorboard") == {step: 1.0 if step < 5 else 2.0 for step in range(1, 9)}


def test_wandb_takes_the_run_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = LogConfig(tensorboard=False, wandb=True, project="driving", group="dit", name="small")
    first, fresh = (started(log, tmp_path / name).loggers[0] for name in ("one", "other"))
    assert (first.name, fresh.name) == ("driving", "driving")
    assert first.version != fresh.version
    assert started(log, tmp_path / "one", 3).loggers[0].version == first.version
    assert started(log, tmp_path / "one").loggers[0].version != first.version  # not resumed: a new run
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    monkeypatch.setenv("WANDB_PROJECT_NAME", "other")
    asked = started(log, tmp_path / "one", 3).loggers[0]
    assert (asked.name, asked.version) == ("other", "abc")


def test_a_mlflow_run_that_is_gone_is_started_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = LogConfig(tensorboard=False, mlflow=True, name="small", mlflow_uri=f"sqlite:///{tmp_path / 'own.db'}")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "trackers.json").write_text('{"mlflow": "0123"}')
    (tracker,) = started(log, tmp_path / "logs", 3).loggers
    assert "mlflow has no run 0123" in caplog.text
    assert json.loads((tmp_path / "logs" / "trackers.json").read_text()) == {"mlflow": tracker.version}
    assert (tmp_path / "own.db").is_file()
    assert not (tmp_path / "logs" / "mlflow.db").exists()


def test_a_store_that_mlflow_refuses_is_named(tmp_path: Path) -> None:
    uri = (tmp_path / "mlruns").as_uri()
    with pytest.raises(UserError, match=re.escape(f"log.mlflow_uri={uri}: ")):
        started(LogConfig(tensorboard=False, mlflow=True, mlflow_uri=uri), tmp_path / "logs")


def test_a_logger_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "_installed", lambda module: False)
    loggers.check_loggers(LogConfig(wandb=False, mlflow=False))
    hint = re.escape("not installed: pip install 'cosmos_lidar[trackers]'")
    with pytest.raises(UserError, match=f"log.wandb=true needs wandb, which is {hint}"):
        loggers.check_loggers(LogConfig(wandb=True))
    with pytest.raises(UserError, match=f"log.mlflow=true needs mlflow, sqlalchemy, alembic, which are {hint}"):
        loggers.check_loggers(LogConfig(mlflow=True))
    with pytest.raises(UserError, match=f"log.mlflow=true needs mlflow, which is {hint}"):
        loggers.check_loggers(LogConfig(mlflow=True, mlflow_uri="http://server"))


def test_quieten_keeps_warnings(capsys: pytest.CaptureFixture[str]):
    from nemo.utils import logging as nemo_logging

    before = nemo_logging.getEffectiveLevel()
    with warnings.catch_warnings():
        loggers.quieten()
        assert nemo_logging.getEffectiveLevel() == logging.WARNING
        assert logging.getLogger("lightning.pytorch").level == logging.WARNING
    nemo_logging.setLevel(before)
