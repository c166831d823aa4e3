"""The training job of ALSO pre-training through the engine: a run, its log and exports, a resumed run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

from cosmos_lidar.clips.image_features import FeatureFiles
from cosmos_lidar.errors import UserError
from cosmos_lidar.families.also.job import make_dry_model
from cosmos_lidar.models.sparse import load_backbone
from cosmos_lidar.recipes import also_pretrain
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points_writer import write_points
from cosmos_lidar.synth import pinhole_rig, synthesize_drive
from cosmos_lidar.training.checkpoint.reading import load_full
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import read_metrics
from tests.workers.client import python, torchrun

ROOT = Path(__file__).resolve().parents[3]

FEW = ["log.tensorboard=false", "trainer.val_every=0", "trainer.val_batches=1", "data.queries=60", "data.points=600"]


def some_run(root: Path, name: str, *options: str) -> object:
    return apply_overrides(also_pretrain.debug(), [*FEW, f"log.root={root}", f"log.name={name}", *options])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of six steps."""
    run = some_run(tmp_path_factory.mktemp("also"), "whole", "synthetic_drives=2", "trainer.max_steps=6")
    return also_pretrain.train(run).folder


def test_a_run_learns_and_exports_its_backbone(trained: Path) -> None:
    rows = list(read_metrics(trained / "metrics.csv"))
    before, after = (row for row in rows if row["val/loss"])
    assert float(after["val/loss"]) < float(before["val/loss"])
    assert 0 < float(after["val/iou"]) < 1
    assert all(float(row["voxels/s"]) > 0 for row in rows if row["loss"])
    checkpoint = trained / "checkpoints" / "iter_000000006"
    backbone = load_backbone(trained / "checkpoints" / "iter_000000006_backbone.safetensors", "minkunet18", 4)
    saved = load_full(checkpoint, "model.")
    assert torch.equal(backbone.stem[0].kernel, saved["backbone.stem.0.kernel"])


@pytest.mark.slow
def test_interrupted_is_uninterrupted(trained: Path) -> None:
    root, where = trained.parents[2], f"data.path={trained / 'synthetic'}"
    also_pretrain.train(some_run(root, "part", "trainer.max_steps=3", where))
    part = also_pretrain.train(some_run(root, "part", "trainer.max_steps=6", where)).folder
    losses = [[row["loss"] for row in read_metrics(run / "metrics.csv") if row["loss"]] for run in (trained, part)]
    assert losses[0] == losses[1]
    ours, theirs = (load_full(folder / "checkpoints" / "iter_000000006") for folder in (trained, part))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_weights_of_another_backbone_are_refused(trained: Path, tmp_path: Path) -> None:
    weights = trained / "checkpoints" / "iter_000000006_backbone.safetensors"
    with pytest.raises(UserError, match="weights of minkunet18 with 4 input channels .*Expected: backbone second"):
        also_pretrain.train(
            apply_overrides(
                also_pretrain.kitti3d_second(),
                ["trainer.accelerator=cpu", f"data.path={trained / 'synthetic'}", f"log.root={tmp_path}",
                 f"model.checkpoint={weights}"],
            )
        )  # fmt: skip


def test_a_dry_model_needs_no_weights() -> None:
    model = make_dry_model(apply_overrides(also_pretrain.debug(), ["model.checkpoint=gone.ckpt"]))
    assert model.network.backbone.in_channels == 4
    assert model.flops_per_sample() is None


def ends_of_ranks(root: Path, *options: str) -> tuple[Path, Path]:
    """Return the folders of the run of one process and of that of two ranks."""
    ends = []
    for name, count, more in (("one", 1, []), ("two", 2, ["parallel.data_shard=2"])):
        words = [*FEW[:2], f"log.root={root}", f"log.name={name}", *options, *more]
        program = (Path(__file__).with_name("ranks.py"), *words)
        done = torchrun(count, *program, cwd=ROOT) if count > 1 else python(*program, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-3000:]
        ends.append(Path(done.stdout.rpartition("RESULT ")[2].strip()))
    return ends[0], ends[1]


def assert_same_steps(ends: tuple[Path, Path], columns: tuple[str, ...]) -> None:
    rows = [[row for row in read_metrics(end / "metrics.csv") if row["loss"]] for end in ends]
    for one, two in zip(*rows, strict=True):
        for column in columns:
            assert float(two[column]) == pytest.approx(float(one[column]), rel=1e-4), column


@pytest.mark.slow
def test_two_ranks_are_one_process(tmp_path: Path) -> None:
    """Batch norm and losses are those of the voxels and pairs of all ranks, also of unlike numbers."""
    ends = ends_of_ranks(tmp_path)
    assert_same_steps(ends, ("loss", "occupancy", "intensity", "grad_norm"))
    one, two = (load_full(end / "checkpoints" / "iter_000000003", "model.") for end in ends)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.slow
def test_two_ranks_compare_the_cells_of_both(tmp_path: Path) -> None:
    """One step, as rounding errors of later ones can cross a kink of the loss; each rank has one pair of scans."""
    contrast = ["model.contrast.weight=0.5", "model.contrast.gather=true", "model.contrast.stride=2"]
    ends = ends_of_ranks(tmp_path, *contrast, "trainer.max_steps=1")
    assert_same_steps(ends, ("loss", "occupancy", "intensity", "contrast", "grad_norm"))


@pytest.fixture(scope="module")
def with_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return shards of two drives whose front camera has features: directions that change along the image."""
    root = tmp_path_factory.mktemp("images")
    rig = pinhole_rig(("front",), width=64, fov_deg=120.0)
    clips = [synthesize_drive(seed, uniform_sensor(16, 90, name="small"), 2, cameras=rig) for seed in (1, 2)]
    turn = np.linspace(0, 1.5, 6)
    one = np.broadcast_to(np.stack([np.cos(turn), np.sin(turn), 0 * turn, 1 + turn], 1)[:, None], (6, 8, 4))
    for clip in clips:
        folder = root / "maps" / clip.clip_id / "camera_front"
        folder.mkdir(parents=True)
        for number in range(len(clip.cameras["camera_front"])):
            np.save(folder / f"{number:06d}.npy", one.astype(np.float32))
    write_points(clips, root / "shards", PrepareOptions(split=(0.5, 0.5, 0)), images=FeatureFiles(root / "maps"))
    return root / "shards"


def test_distillation_falls_and_stays_out_of_the_export(with_images: Path, tmp_path: Path) -> None:
    words = ["recipe=debug", *FEW, "trainer.max_steps=12", f"log.root={tmp_path}", f"data.path={with_images}"]
    options = ["model.distillation.weight=0.5", "log.name=images"]
    run = also_pretrain.FAMILY.choose([*words, *options])[0]
    assert run.model.distillation.channels == 4
    folder = also_pretrain.train(run).folder
    rows = [float(row["distillation"]) for row in read_metrics(folder / "metrics.csv") if row["distillation"]]
    assert len(rows) == 12
    assert rows[-1] < 0.6 * rows[0]
    saved = load_full(folder / "checkpoints" / "iter_000000012", "model.")
    assert saved["image_head.weight"].shape == (4, 16)
    exported = load_backbone(folder / "checkpoints" / "iter_000000012_backbone.safetensors", "minkunet18", 4)
    assert torch.equal(exported.stem[0].kernel, saved["backbone.stem.0.kernel"])
    model = make_dry_model(run)
    assert model.step(model.example_batch(2))["distillation"] > 0


def test_distillation_without_image_features_is_refused(trained: Path) -> None:
    words = ["recipe=debug", f"data.path={trained / 'synthetic'}", "model.distillation.weight=1"]
    with pytest.raises(UserError, match="has no image features of one D: `cosmos-lidar prepare --task points"):
        also_pretrain.FAMILY.choose(words)
    with pytest.raises(UserError, match="valid with MinkUNet or SPVCNN, and data.path"):
        apply_overrides(also_pretrain.debug(), words[2:]).check()
