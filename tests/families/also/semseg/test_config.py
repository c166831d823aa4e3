"""Options of semantic segmentation: published epochs, published names, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.also.semseg.config import PUBLISHED_KEYS, SemsegDataConfig, SemsegTrainConfig
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points_writer import write_points
from cosmos_lidar.training.data_facts import fill_in
from cosmos_lidar.training.option_names import translate
from cosmos_lidar.training.overrides import apply_overrides
from tests.shards.point_clips import labeled_clip


def test_epochs_are_those_published_for_each_fraction():
    published = {1: (30, 5), 2: (50, 5), 10: (100, 10), 100: (500, 50), 1000: (1000, 100)}
    assert {ratio: SemsegDataConfig(skip_ratio=ratio).schedule for ratio in published} == published
    assert SemsegDataConfig(skip_ratio=100, epochs=20).schedule == (20, 50)
    assert SemsegDataConfig(skip_ratio=7).schedule == (0, 0)


def test_steps_follow_from_the_labeled_sweeps(tmp_path: Path):
    write_points([labeled_clip("a", 25)], tmp_path / "out", PrepareOptions(split=(1,)))
    run = SemsegTrainConfig(data=SemsegDataConfig(path=str(tmp_path / "out"), skip_ratio=10, batch_size=2))
    filled = fill_in(run, run.data_facts(), SemsegTrainConfig())
    assert (filled.trainer.max_steps, filled.trainer.val_every) == (200, 20)  # 3 sweeps, 2 steps an epoch
    run.trainer.max_steps = 7
    assert fill_in(run, run.data_facts(), SemsegTrainConfig(), {"trainer.max_steps"}).trainer.max_steps == 7


def test_published_options_are_understood():
    words = ["cfg.downstream.skip_ratio=100", "cfg.downstream.batch_size=4", "cfg.network.backbone=SPVCNN",
             "cfg.downstream.checkpoint_dir=runs", "cfg.downstream.checkpoint_name=a.ckpt"]  # fmt: skip
    run = apply_overrides(SemsegTrainConfig(), [str(translate(word, PUBLISHED_KEYS)) for word in words])
    assert (run.data.skip_ratio, run.data.batch_size, run.model.name) == (100, 4, "spvcnn")
    assert run.model.weights == Path("runs/a.ckpt")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("data.skip_ratio=0", "data.skip_ratio=0: expected at least 1"),
        ("model.linear_probing=true", "give pre-trained weights"),
        ("model.inputs=[pos,pos]", "each once"),
        ("model.loss.cross_entropy=0", "one of them above 0"),
        ("model.voxel_size=0", "expected more than 0"),
        ("data.path=", "data.path is empty"),
        ("trainer.precision=fp8", "valid: fp32, bf16"),
    ],
)
def test_what_cannot_work_is_refused(option: str, message: str):
    run = apply_overrides(SemsegTrainConfig(data=SemsegDataConfig(path="shards")), [option])
    with pytest.raises(UserError, match=message):
        run.check()
