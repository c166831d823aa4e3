"""Training a video tokenizer: it learns, resumes exactly, has a discriminator, takes published weights and keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.video_tokenizer.config import VideoTokenizerTrainConfig
from cosmos_lidar.families.video_tokenizer.job import make_dry_model, make_loss, make_network
from cosmos_lidar.families.video_tokenizer.model import to_unit_range
from cosmos_lidar.losses.perceptual import Vgg16Features
from cosmos_lidar.models.tokenizer import export_jit, load_tokenizer
from cosmos_lidar.recipes import video_tokenizer
from cosmos_lidar.training.checkpoint.reading import load_full
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import read_metrics
from tests.workers.client import torchrun

pytest.importorskip("nemo")

ROOT = Path(__file__).resolve().parents[3]
DISCRETE = ["model.model=DV4x8x8", "model.channels_mult=[1,2,2]"]
DISCRIMINATOR = [f"model.loss.adversarial.{text}" for text in ("weight=0.1", "start=2", "channels=8", "layers=2")]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic videos of the debug recipe, and the run that made them."""
    folder = tmp_path_factory.mktemp("runs")
    return video_tokenizer.train(some_run(folder, "first", "trainer.max_steps=20")).folder / "synthetic"


def some_run(root: Path, name: str, *options: str) -> VideoTokenizerTrainConfig:
    few = ["log.tensorboard=false", "trainer.val_every=0", "trainer.save_every=0", f"log.root={root}"]
    return apply_overrides(video_tokenizer.debug(), [*few, f"log.name={name}", *options])


def train(root: Path, name: str, shards: Path, *options: str) -> Path:
    return video_tokenizer.train(some_run(root, name, f"data.path={shards}", *options)).folder


def losses(folder: Path) -> list[tuple[str, ...]]:
    rows = [row for row in read_metrics(folder / "metrics.csv") if row["loss"]]
    names = [name for name in ("step", "loss", "color", "adversarial", "critic", "grad_norm") if name in rows[0]]
    return [tuple(row[name] for name in names) for row in rows]


def test_loss_falls_quality_rises_and_exports_load(shards: Path) -> None:
    folder = shards.parent
    rows = [row for row in read_metrics(folder / "metrics.csv") if row["val/psnr"]]
    assert float(rows[-1]["val/psnr"]) > float(rows[0]["val/psnr"]) + 4
    assert float(rows[-1]["val/ssim"]) > float(rows[0]["val/ssim"])
    assert (folder / "validation" / "step_000000020.mp4").stat().st_size > 500
    exports = folder / "checkpoints"
    x = torch.rand(1, 3, 5, 32, 32) * 2 - 1
    encoder, decoder = (torch.jit.load(exports / f"iter_000000020_{kind}.jit") for kind in ("enc", "dec"))
    latent = encoder(x)[0]
    network = load_tokenizer(exports / "iter_000000020_enc.jit")  # with the decoder beside it
    assert torch.allclose(network.encode(x), latent, atol=1e-5)
    assert torch.allclose(network.decode(latent), decoder(latent), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("options", [DISCRETE, DISCRIMINATOR], ids=["discrete", "adversarial"])
def test_interrupted_is_uninterrupted(options: list[str], shards: Path, tmp_path: Path) -> None:
    options = [*options, "trainer.val_at_start=false"]
    whole = train(tmp_path, "whole", shards, "trainer.max_steps=5", *options)
    part = train(tmp_path, "part", shards, "trainer.max_steps=3", *options)
    part = train(tmp_path, "part", shards, "trainer.max_steps=5", *options)
    assert losses(whole) == losses(part)
    ours, theirs = (load_full(folder / "checkpoints" / "iter_000000005") for folder in (whole, part))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(name.startswith("adversary.") for name in ours) == (options[0] in DISCRIMINATOR)


def test_the_critic_enters_at_its_step_and_moves(shards: Path, tmp_path: Path) -> None:
    folder = train(tmp_path, "game", shards, "trainer.max_steps=4", *DISCRIMINATOR, "trainer.val_at_start=false")
    rows = [row for row in read_metrics(folder / "metrics.csv") if row["loss"]]
    discriminator = [float(row["critic"]) for row in rows]
    assert discriminator[:2] == [0.0, 0.0]
    assert discriminator[2] > 0
    assert discriminator[3] != discriminator[2]
    last = rows[-1]
    assert float(last["loss"]) == pytest.approx(float(last["color"]) + 0.1 * float(last["adversarial"]), rel=1e-4)


@pytest.mark.slow
def test_an_adaptive_weight_balances_the_gradients(shards: Path, tmp_path: Path) -> None:
    options = [*DISCRIMINATOR, "model.loss.adversarial.adaptive=true", "trainer.val_at_start=false"]
    folder = train(tmp_path, "adaptive", shards, "trainer.max_steps=4", *options)
    last = [row for row in read_metrics(folder / "metrics.csv") if row["loss"]][-1]
    plain = float(last["color"]) + 0.1 * float(last["adversarial"])
    assert abs(float(last["loss"]) - plain) > 1e-5


@pytest.mark.slow
def test_discrete_validation_tells_of_the_codebook(shards: Path, tmp_path: Path) -> None:
    folder = train(tmp_path, "codes", shards, "trainer.max_steps=1", *DISCRETE)
    last = [row for row in read_metrics(folder / "metrics.csv") if row["val/psnr"]][-1]
    assert 1 <= float(last["val/perplexity"]) <= float(last["val/codes_used"]) <= 64000


@pytest.mark.slow
def test_perceptual_terms_and_lpips_with_weights_of_a_file(shards: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    torch.manual_seed(0)
    torch.save(Vgg16Features().state_dict(), tmp_path / "vgg16.pth")
    weights = [f"model.loss.vgg_weights={tmp_path / 'vgg16.pth'}", "model.loss.perceptual=0.1", "model.loss.gram=0.01"]
    folder = train(tmp_path, "vgg", shards, "trainer.max_steps=1", *weights)
    rows = read_metrics(folder / "metrics.csv")
    first = next(row for row in rows if row["loss"])
    parts = float(first["color"]) + 0.1 * float(first["perceptual"]) + 0.01 * float(first["gram"])
    assert float(first["loss"]) == pytest.approx(parts, rel=1e-5)
    assert 0 < float(rows[-1]["val/lpips"]) < 5
    state = load_full(folder / "checkpoints" / "iter_000000001")
    assert not [name for name in state if "vgg" in name or "lin" in name or "features" in name]


def test_single_images_train_an_image_tokenizer(shards: Path, tmp_path: Path) -> None:
    shape = ["model.model=CI8x8", "model.channels_mult=[1,2,2]", "data.frames=1"]
    folder = train(tmp_path, "pictures", shards, "trainer.max_steps=2", *shape)
    assert load_tokenizer(folder / "checkpoints" / "iter_000000002.pt").config.family == "CI"


def test_weights_to_start_from_and_those_of_another_family(tmp_path: Path) -> None:
    run = some_run(tmp_path, "x")
    torch.manual_seed(1)
    network = make_network(run)
    export_jit(network, tmp_path / "ckpt")
    start = [f"model.jit_ckpt_pth={tmp_path / 'ckpt'}"]
    loaded = make_network(some_run(tmp_path, "x", *start))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), loaded.parameters(), strict=True))
    with pytest.raises(UserError, match=r"model.model=DV4x8x8 has family DV, the weights of .*ckpt have CV"):
        make_network(some_run(tmp_path, "x", *start, *DISCRETE))
    with pytest.raises(DataError, match="nowhere"):
        make_network(some_run(tmp_path, "x", f"model.jit_ckpt_pth={tmp_path / 'nowhere'}"))


def test_terms_without_weight_load_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: str) -> None:
        raise AssertionError(f"loaded {path}")

    monkeypatch.setattr("cosmos_lidar.families.video_tokenizer.job.load_perceptual", forbidden)
    monkeypatch.setattr("cosmos_lidar.families.video_tokenizer.job.load_flow", forbidden)
    run = video_tokenizer.debug()
    assert make_loss(run).names == ("color",)
    with pytest.raises(AssertionError, match=r"loaded vgg.pth"):
        make_loss(apply_overrides(run, ["model.loss.gram=0.1", "model.loss.vgg_weights=vgg.pth"]))


def test_biases_do_not_decay_where_the_recipe_says_so() -> None:
    model = make_dry_model(apply_overrides(video_tokenizer.debug(), ["optim.decay_biases=false"]))
    groups = model.configure_optimizers()["optimizer"].param_groups
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    biases = {id(p) for name, p in model.network.named_parameters() if "bias" in name}
    assert {id(p) for p in groups[1]["params"]} == biases


def test_bytes_and_floats_mean_the_same() -> None:
    frames = torch.tensor([0, 127, 255], dtype=torch.uint8)
    assert torch.allclose(to_unit_range(frames), torch.tensor([-1.0, 127 / 127.5 - 1, 1.0]))


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["parallel.context=2", "parallel.data_shard=2"])
def test_two_processes_are_one(mesh: str, shards: Path, tmp_path: Path) -> None:
    """Two context processes see the same clip; two data processes see two, as one does with a batch of two."""
    options = ["trainer.max_steps=3", "trainer.val_at_start=false", "optim.lr=1e-4", *DISCRIMINATOR, "data.shuffle=0"]
    program = [str(ROOT / "recipes" / "video_tokenizer.py"), "recipe=debug", f"log.root={tmp_path}", "log.name=two",
               f"data.path={shards}", "log.tensorboard=false", "trainer.val_every=0", mesh, *options]  # fmt: skip
    done = torchrun(2, *program)
    assert done.returncode == 0, done.stderr[-3000:]
    two = losses(tmp_path / "posttraining" / "video_tokenizer" / "two")
    assert len(two) == 3
    if "context" in mesh:
        one = losses(train(tmp_path, "one", shards, *options))
        for ours, theirs in zip(two, one, strict=True):
            assert [float(x) for x in ours] == pytest.approx([float(x) for x in theirs], rel=2e-4, abs=2e-4)


def test_a_discriminator_takes_no_accumulated_batches() -> None:
    options = ["model.loss.adversarial.weight=0.1", "trainer.accumulate=2"]
    with pytest.raises(UserError, match="trainer.accumulate=2 and model.loss.adversarial.weight=0.1 exclude"):
        make_dry_model(apply_overrides(video_tokenizer.debug(), options))
