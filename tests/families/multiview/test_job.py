"""Training multi-view diffusion: from latents and from videos, exact resume, adapters, and ranks that share a clip."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.multiview.job import make_network
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.lora_files import read_adapter
from cosmos_lidar.models.dit.lora_merge import merge_files
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.recipes import multiview
from cosmos_lidar.shards.multiview_writer import MultiviewOptions, write_multiview
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.training.checkpoint.reading import load_full
from cosmos_lidar.training.run_log import read_metrics
from tests.families.multiview.runs import FEW, losses, some_run
from tests.shards.cameras import camera_clip
from tests.workers.client import torchrun

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The option that names shards of synthetic latents."""
    folder = tmp_path_factory.mktemp("latents")
    return f"data.path={multiview.train(some_run(folder, 'data', 'trainer.max_steps=1')).folder / 'synthetic'}"


def video_options(folder: Path) -> list[str]:
    """Make shards of five cameras, and a VAE, in a folder; return the options of a run on three views."""
    clips = [camera_clip(f"clip{number}", frames=5, size=(32, 48)) for number in range(2)]
    write_multiview(clips, folder / "shards", MultiviewOptions(), PrepareOptions(split=(0.5, 0.5)))
    torch.manual_seed(0)
    torch.save(build_vae("wan2_1", dim=8).state_dict(), folder / "vae.pth")
    return [
        "synthetic_clips=0", f"data.path={folder / 'shards'}", f"data.vae.checkpoint={folder / 'vae.pth'}",
        f"data.vae.cache={folder / 'cache'}", "data.view_ids=[5,0,1]", "data.latent_shape=[16,2,4,6]",
        "data.captions=none", "data.batch_size=1",
    ]  # fmt: skip


def test_the_loss_falls(latents: str, tmp_path: Path) -> None:
    options = [latents, "trainer.max_steps=60", "trainer.val_at_start=true", "trainer.export=false"]
    folder = multiview.train(some_run(tmp_path, "a", *options)).folder
    rows = [float(row["val/loss"]) for row in read_metrics(folder / "metrics.csv") if row["val/loss"]]
    assert rows[-1] < 0.5 * rows[0]


def test_interrupted_is_uninterrupted(latents: str, tmp_path: Path) -> None:
    whole = multiview.train(some_run(tmp_path, "whole", "trainer.max_steps=6", latents)).folder
    multiview.train(some_run(tmp_path, "part", "trainer.max_steps=3", latents))
    part = multiview.train(some_run(tmp_path, "part", "trainer.max_steps=6", latents)).folder
    assert losses(whole) == losses(part)
    ours, theirs = (load_full(folder / "checkpoints" / "iter_000000006") for folder in (whole, part))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_adapters_of_a_published_file(latents: str, tmp_path: Path) -> None:
    """Weights of the exported layout start a run of adapters, which are saved alone."""
    base = multiview.train(some_run(tmp_path, "base", "trainer.max_steps=2", latents)).folder
    file = base / "checkpoints" / "published" / "model" / "iter_000000002.pt"
    options = [f"model.checkpoint={file}", "model.lora.rank=2", "model.lora.alpha=2", "trainer.max_steps=2", latents]
    run = some_run(tmp_path, "lora", *options, "trainer.checkpoint_trained_only=true")
    folder = multiview.train(run).folder / "checkpoints"
    adapter = read_adapter(folder / "iter_000000002_ema_lora")
    assert (adapter.rank, len(adapter.factors)) == (2, 20)
    assert max(float(second.abs().max()) for _, second in adapter.factors.values()) > 0
    network = make_network(some_run(tmp_path, "x", f"model.checkpoint={file}"))
    state = torch.load(file, weights_only=True)
    assert all(torch.equal(value, state[f"net.{name}"]) for name, value in network.state_dict().items())


def test_rays_are_trained_beside_adapters(tmp_path: Path) -> None:
    """Rays come with the videos; their projection, which starts at zero, is saved with the adapters."""
    torch.save(build_dit("predict2_debug_multiview").state_dict(), tmp_path / "base.pt")
    options = [*video_options(tmp_path), "model.rays=true", "model.lora.rank=2", "optim.warmup_steps=0"]
    options += [f"model.checkpoint={tmp_path / 'base.pt'}", "trainer.checkpoint_trained_only=true"]
    folder = multiview.train(some_run(tmp_path, "a", *options, "trainer.max_steps=2")).folder
    adapter = read_adapter(folder / "checkpoints" / "iter_000000002_reg_lora")
    assert list(adapter.saved) == ["ray_embedder.weight"]
    assert bool((adapter.saved["ray_embedder.weight"] != 0).any())
    count = merge_files(tmp_path / "base.pt", [folder / "checkpoints" / "iter_000000002_reg_lora"], tmp_path / "m.pt")
    merged = torch.load(tmp_path / "m.pt", weights_only=True)
    assert (count, torch.equal(merged["net.ray_embedder.weight"], adapter.saved["ray_embedder.weight"])) == (20, True)


def test_cameras_beyond_the_view_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.view_ids=\[0, 7\]: predict2_debug_multiview has a view table of 7 rows"):
        make_network(some_run(tmp_path, "x", "data.view_ids=[0,7]"))


def test_networks_of_other_kinds_are_refused(tmp_path: Path) -> None:
    run = some_run(tmp_path, "x")
    run.model.name = "faditv2_debug"
    with pytest.raises(UserError, match="predict2"):
        make_network(run)


def test_videos_are_encoded_once(tmp_path: Path) -> None:
    """Shards of five cameras and a VAE: latents are made while training, and found by the next run."""
    options = [*video_options(tmp_path), "trainer.max_steps=2", "trainer.export=false"]
    first = multiview.train(some_run(tmp_path, "a", *options)).folder
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert len(files) == 3  # one for each view: the images of both clips are the same
    again = multiview.train(some_run(tmp_path, "b", *options)).folder
    assert losses(first) == losses(again)
    assert {path for path in (tmp_path / "cache").rglob("*") if path.is_file()} == set(files)


@pytest.mark.slow
def test_ranks_share_the_encoding_of_a_clip(tmp_path: Path) -> None:
    """Each of two context ranks encodes some of three views; latents, and losses, are those of one, with rays."""
    options = [*video_options(tmp_path), "model.rays=true", "trainer.max_steps=3", "trainer.export=false", *FEW]
    program = [str(ROOT / "recipes" / "multiview.py"), "recipe=debug", f"log.root={tmp_path}", "parallel.context=2"]
    done = torchrun(2, *program, "log.name=two", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    one = losses(multiview.train(some_run(tmp_path, "one", *options, f"data.vae.cache={tmp_path / 'other'}")).folder)
    two = losses(tmp_path / "posttraining" / "multiview" / "two")
    assert [float(loss) for _, loss in one] == pytest.approx([float(loss) for _, loss in two], rel=1e-4)
    names = [{path.name for path in (tmp_path / folder).rglob("*.safetensors")} for folder in ("cache", "other")]
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["parallel.context=2"],
        ["parallel.context=2", "data.latent_shape=[16,1,8,12]", "model.condition.frames=[0]"],
        ["parallel.tensor=2"],
    ],
    ids=["over time", "over space", "tensor"],
)
def test_two_ranks_are_one(options: list[str], tmp_path: Path) -> None:
    shape = [option for option in options if not option.startswith("parallel")]
    folder = multiview.train(some_run(tmp_path, "data", "trainer.max_steps=1", *shape)).folder / "synthetic"
    options = [*FEW, "trainer.max_steps=3", f"data.path={folder}", f"log.root={tmp_path}", *options]
    program = [str(ROOT / "recipes" / "multiview.py"), "recipe=debug", "log.name=two", *options]
    done = torchrun(2, *program)
    assert done.returncode == 0, done.stderr[-3000:]
    run = some_run(tmp_path, "one", "trainer.max_steps=3", f"data.path={folder}", *shape)
    one, two = losses(multiview.train(run).folder), losses(tmp_path / "posttraining" / "multiview" / "two")
    assert [float(loss) for _, loss in one] == pytest.approx([float(loss) for _, loss in two], rel=1e-4)
