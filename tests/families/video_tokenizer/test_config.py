from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.recipes import video_tokenizer
from cosmos_lidar.training.engine import resolved
from cosmos_lidar.training.overrides import apply_overrides


def test_the_published_command_line_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--yes", "data.path=DATA", "model.jit_ckpt_pth=CKPT", "model.model=Cosmos-1.0-Tokenizer-CV8x8x8",
             "data.micro_batch_size=2", "data.num_workers=3", "trainer.val_check_interval=7"]  # fmt: skip
    run, args = video_tokenizer.FAMILY.choose(words)
    assert args.yes
    assert (run.data.path, run.data.batch_size, run.data.workers, run.trainer.val_every) == ("DATA", 2, 3, 7)
    assert (run.optim.lr, run.optim.betas, run.optim.weight_decay) == (1e-4, [0.5, 0.999], 0.01)
    assert not run.optim.decay_biases
    assert run.trainer.precision == "bf16"
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert resolved(run, MeshSizes()).log.wandb is False
    monkeypatch.setenv("WANDB_API_KEY", "x")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert resolved(run, MeshSizes()).log.wandb is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data.frames=6"], "data.frames=6: one more than a multiple of 4, such as 5 or 9"),
        (["data.size=60"], "data.size=60: a multiple of 8"),
        (["model.model=CI8x8"], "data.frames=5: a tokenizer of single images"),
        (["model.model=XY8"], "unknown tokenizer 'XY8'"),
        (["model.loss.perceptual=0.1"], r"model.loss.vgg_weights names no file.*model.loss.perceptual=0"),
        (["model.loss.gram_late=0.1"], r"model.loss.perceptual=0 model.loss.gram=0 model.loss.gram_late=0"),
        (["model.loss.flow=0.01"], r"model.loss.raft_weights names no file"),
        (["model.loss.flow=0.01", "model.loss.raft_weights=x"], r"data.size=64: .*at least 256 x 256"),
        (["synthetic_videos=0"], "data.path is empty"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # no weights in torch's cache
    with pytest.raises(UserError, match=message):
        apply_overrides(video_tokenizer.debug(), options).check()
