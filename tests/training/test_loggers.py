"""Loggers: which ones exp_manager is asked for, and that it is left alone where there are none."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer

from cosmos_lidar.errors import UserError
from cosmos_lidar.training import loggers
from cosmos_lidar.training.config import LogConfig


def asked(monkeypatch: pytest.MonkeyPatch, log: LogConfig, folder: Path) -> dict[str, Any]:
    """Return the settings that exp_manager is called with."""
    from nemo.utils import exp_manager

    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(exp_manager, "exp_manager", lambda trainer, settings: calls.append(settings))
    loggers.start_loggers(Trainer(logger=False, accelerator="cpu"), log, folder)
    (settings,) = calls
    return settings


def test_without_loggers_nemo_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Importing its exp_manager costs a second of each start."""
    monkeypatch.setitem(sys.modules, "nemo.utils.exp_manager", None)  # importing it raises
    trainer = Trainer(logger=False, accelerator="cpu")
    loggers.start_loggers(trainer, LogConfig(tensorboard=False), tmp_path / "logs")
    assert trainer.loggers == []
    assert not (tmp_path / "logs").exists()


def test_tensorboard_alone(tmp_path: Path):
    trainer = Trainer(logger=False, accelerator="cpu")
    loggers.start_loggers(trainer, LogConfig(), tmp_path / "logs")
    assert [type(logger).__name__ for logger in trainer.loggers] == ["TensorBoardLogger"]
    assert Path(trainer.loggers[0].save_dir or "") == tmp_path / "logs"


def test_wandb_resumes_the_run_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    log = LogConfig(tensorboard=False, wandb=True, project="driving", group="dit", name="small")
    for variable in ("WANDB_RUN_ID", "WANDB_PROJECT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    first = asked(monkeypatch, log, tmp_path)
    assert (first["create_tensorboard_logger"], first["create_wandb_logger"]) == (False, True)
    assert first["wandb_logger_kwargs"] == {"name": "small", "project": "driving", "group": "dit"}
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    monkeypatch.setenv("WANDB_PROJECT_NAME", "other")
    second = asked(monkeypatch, log, tmp_path)["wandb_logger_kwargs"]
    assert second == {"name": "small", "project": "other", "group": "dit", "id": "abc", "resume": "allow"}


def test_mlflow_logs_to_files_beside_the_loggers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    log = LogConfig(mlflow=True, project="driving", name="small")
    settings = asked(monkeypatch, log, tmp_path / "logs")["mlflow_logger_kwargs"]
    assert settings["tracking_uri"] == (tmp_path / "mlruns").as_uri()
    log.mlflow_uri = "http://server"
    assert asked(monkeypatch, log, tmp_path)["mlflow_logger_kwargs"]["tracking_uri"] == "http://server"


def test_a_logger_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    loggers.check_loggers(LogConfig(wandb=False, mlflow=False))
    with pytest.raises(UserError, match="log.wandb=true and wandb is not installed: pip install wandb, or log.wandb="):
        loggers.check_loggers(LogConfig(wandb=True))


def test_quieten_keeps_warnings(capsys: pytest.CaptureFixture[str]):
    from nemo.utils import logging as nemo_logging

    before = nemo_logging.getEffectiveLevel()
    with warnings.catch_warnings():
        loggers.quieten()
        assert nemo_logging.getEffectiveLevel() == logging.WARNING
        assert logging.getLogger("lightning.pytorch").level == logging.WARNING
    nemo_logging.setLevel(before)
