from pathlib import Path
from types import SimpleNamespace

from cosmos_lidar.training.measure.step_clock import StepClock
from cosmos_lidar.training.run_log import RunLog, StepSize, read_metrics


def test_metrics_of_steps_that_are_run_again_are_dropped(tmp_path: Path):
    trainer = SimpleNamespace(is_global_zero=True, loggers=[], world_size=1, global_step=0, max_steps=9)
    model = SimpleNamespace(clock=StepClock(), items_seen=0)
    log = RunLog(tmp_path / "metrics.csv", 1, ("loss",), ("val/loss",), StepSize(1, 1, 1, 1, None))
    log.on_train_start(trainer, model)
    for step in (1, 2, 3):
        log.write(trainer, step, {"loss": 0.1 * step})
    log.write(trainer, 3, {"val/loss": 0.5})
    trainer.global_step = 2
    log.on_train_start(trainer, model)
    log.write(trainer, 3, {"loss": 0.7})
    rows = read_metrics(tmp_path / "metrics.csv")
    found = [(row["step"], row["loss"], row["val/loss"]) for row in rows]
    assert found == [("1", "0.1", ""), ("2", "0.2", ""), ("3", "0.7", "")]
    log.on_train_end(trainer, model)
