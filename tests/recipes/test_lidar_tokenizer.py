from pathlib import Path

import pytest

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

from cosmos_lidar.families.lidar_tokenizer.config import LidarTokenizerTrainConfig
from cosmos_lidar.training.overrides import load_config
from cosmos_lidar.training.run_log import read_metrics
from tests.workers.client import python

ROOT = Path(__file__).resolve().parents[2]
LAST = "iter_000000020"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished debug run."""
    root = tmp_path_factory.mktemp("runs")
    recipe = str(ROOT / "recipes" / "lidar_tokenizer.py")
    ema = ["model.ema.enabled=true", "model.ema.decay=0.9"]
    options = ["recipe=debug", "trainer.max_steps=20", *ema, f"log.root={root}"]
    done = python(recipe, *options, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "posttraining" / "tokenizer" / "debug"


def test_a_run_leaves_everything_that_is_needed(finished: Path):
    checkpoints = finished / "checkpoints"
    names = {path.name for path in checkpoints.iterdir()}
    endings = ("", ".pt", ".safetensors", "_enc.jit", "_dec.jit", "_ema.jit")
    assert {LAST + ending for ending in endings} | {"config.yaml", "newest_checkpoint.json"} <= names
    assert not [name for name in names if "part" in name]
    run = load_config(LidarTokenizerTrainConfig, finished / "config.yaml")
    assert run.trainer.max_steps == 20
    assert (checkpoints / "config.yaml").read_text() == (finished / "config.yaml").read_text()
    assert list((finished / "logs" / "tensorboard").glob("events.out.tfevents.*"))


def test_the_loss_falls(finished: Path):
    rows = read_metrics(finished / "metrics.csv")
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    checked = [(int(row["step"]), float(row["val/loss"]), float(row["val/rmse_m"])) for row in rows if row["val/loss"]]
    assert [step for step, _, _ in checked] == [0, 15, 20]
    assert checked[-1][1] < checked[0][1]
    assert all(row["lr"] and row["grad_norm"] and float(row["samples/s"]) > 0 for row in rows if row["loss"])


CHECK_EXPORTS = """
import sys, torch
from pathlib import Path
from cosmos_lidar.training.checkpoint.reading import load_full
from cosmos_lidar.models.tokenizer import load_tokenizer
folder, last = sys.argv[1:]
x = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
with torch.no_grad():
    made = [load_tokenizer(f"{folder}/{last}{e}").eval() for e in (".pt", ".safetensors")]
    z = [network.encode(x) for network in made]
    y = [network.decode(latent) for network, latent in zip(made, z)]
    encoder, decoder = (torch.jit.load(f"{folder}/{last}_{part}.jit") for part in ("enc", "dec"))
    latent = encoder(x)
    latent = latent[0] if isinstance(latent, tuple) else latent
    assert torch.equal(z[0], z[1]) and torch.equal(y[0], y[1])
    ema = made[0]
    ema.load_state_dict(ema.state_dict() | load_full(Path(folder) / last, "ema."))
    torch.testing.assert_close(latent, ema.encode(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(decoder(latent), ema.decode(latent), rtol=0, atol=1e-4)
    full = torch.jit.load(f"{folder}/{last}_ema.jit")(x)
    full = full[0]
    wanted = ema.decode(ema.encode(x))
    torch.testing.assert_close(full, wanted, rtol=0, atol=1e-4)
    assert (wanted - y[0]).abs().max() > 1e-3
    assert y[0].std() > 0.05, "not an image"
"""


def test_exports_give_the_same_images_in_a_fresh_process(finished: Path):
    done = python("-c", CHECK_EXPORTS, finished / "checkpoints", LAST, cwd=finished)
    assert done.returncode == 0, done.stderr
