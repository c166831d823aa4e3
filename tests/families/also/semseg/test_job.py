"""Training semantic segmentation: it learns, starts from weights, resumes exactly, and two ranks are one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.also.semseg.job import annealed, make_network
from cosmos_lidar.models.sparse import build_backbone, load_backbone
from cosmos_lidar.models.sparse.export import write_backbone
from cosmos_lidar.recipes import also_semseg
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points_writer import write_points
from cosmos_lidar.training.checkpoint.reading import load_full
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import read_metrics
from tests.families.also.semseg.sweeps import room_clip, write_label_map
from tests.workers.client import ROOT, torchrun

FEW = ["log.tensorboard=false", "trainer.val_every=0", "trainer.save_every=0", "data.decimation=0.2", "data.points=0"]
EXPORT = "checkpoints/iter_000000008_semseg.safetensors"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_label_map(folder)
    write_points([room_clip(name) for name in "abc"], folder / "shards", PrepareOptions(split=(2, 1)))
    return folder


def some_options(root: Path, name: str, *options: str) -> list[str]:
    places = [f"data.path={root / 'shards'}", f"model.label_map={root / 'rooms.yaml'}", f"log.root={root}"]
    return [*FEW, *places, f"log.name={name}", *options]


def train(root: Path, name: str, *options: str) -> Path:
    return also_semseg.train(apply_overrides(also_semseg.debug(), some_options(root, name, *options))).folder


@pytest.fixture(scope="module")
def trained(root: Path) -> Path:
    return train(root, "first", "trainer.max_steps=8", "optim.lr=0.03")


def losses(folder: Path) -> list[float]:
    return [float(row["loss"]) for row in read_metrics(folder / "metrics.csv") if row["loss"]]


def test_it_learns_and_its_export_is_the_network(trained: Path):
    rows = [row for row in read_metrics(trained / "metrics.csv") if row["val/miou"]]
    assert losses(trained)[-1] < 0.7 * losses(trained)[0]
    assert float(rows[-1]["val/miou"]) > float(rows[0]["val/miou"]) + 0.2
    rates = [float(row["lr"]) for row in read_metrics(trained / "metrics.csv") if row["lr"]]
    assert rates[-1] < 0.1 * max(rates)  # annealed
    network = load_backbone(trained / EXPORT, "minkunet18", in_channels=4)
    weights = load_full(trained / "checkpoints" / "iter_000000008", "model.")
    assert network.out_channels == 3
    assert all(torch.equal(value, weights[f"backbone.{name}"]) for name, value in network.state_dict().items())


def test_pretrained_weights_but_for_the_last_layer_are_where_it_starts(root: Path):
    pretrained = build_backbone("minkunet18", 4, 7, width=4)
    write_backbone(pretrained, root / "pretrained.safetensors", "segmentation", classifier=True)
    options = some_options(root, "x", "model.checkpoint_dir=" + str(root), "model.checkpoint=pretrained.safetensors")
    run = apply_overrides(also_semseg.debug(), options)
    network = make_network(run).backbone
    theirs = pretrained.state_dict()
    assert network.out_channels == 3
    for name, value in network.state_dict().items():
        assert name.startswith("classifier.") or torch.equal(value, theirs[name])
    for option, message in (("model.backbone=SPVCNN", "Expected: backbone spvcnn"),
                            ("model.inputs=[intensities]", "4 input channels.*Expected: in_channels 1")):  # fmt: skip
        with pytest.raises(DataError, match=message):
            make_network(apply_overrides(run, [option]))


def test_the_learning_rate_is_annealed_unless_that_is_set():
    run = apply_overrides(also_semseg.debug(), ["trainer.max_steps=40"])
    assert annealed(run).optim.decay_until == 40
    assert annealed(apply_overrides(run, ["optim.decay_until=10"])).optim.decay_until == 10
    assert annealed(apply_overrides(run, ["model.anneal=false"])).optim.decay_until == 0


@pytest.mark.slow
def test_linear_probing_keeps_all_other_weights(root: Path, trained: Path):
    folder = train(
        root, "probe", "trainer.max_steps=2", f"model.checkpoint={trained / EXPORT}", "model.linear_probing=true"
    )
    before, after = (load_backbone(one).state_dict()
                     for one in (trained / EXPORT, folder / EXPORT.replace("08_", "02_")))  # fmt: skip
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"classifier.0.weight", "classifier.0.bias"}


def test_a_ratio_that_leaves_nothing_is_refused(root: Path):
    with pytest.raises(UserError, match="data.skip_ratio=0: expected at least 1"):
        train(root, "none", "data.skip_ratio=0")


@pytest.mark.slow
def test_interrupted_is_uninterrupted(root: Path):
    options = ["trainer.val_at_start=false", "model.anneal=false", "data.skip_ratio=2"]
    whole = train(root, "whole", "trainer.max_steps=4", *options)
    train(root, "part", "trainer.max_steps=2", *options)
    part = train(root, "part", "trainer.max_steps=4", *options)
    assert losses(whole) == losses(part)
    ours, theirs = (load_full(folder / "checkpoints" / "iter_000000004") for folder in (whole, part))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_two_ranks_are_one(root: Path):
    """Batch norm has the voxels of both, and the loss all labeled points, however many each rank has."""
    common = ["trainer.max_steps=2", "trainer.val_at_start=false"]
    ranks = some_options(root, "two", *common, "data.batch_size=1", "data.workers=1")
    done = torchrun(2, str(ROOT / "recipes" / "also_semseg.py"), "recipe=debug", *ranks)
    assert done.returncode == 0, done.stderr[-3000:]
    one = train(root, "one", *common, "data.batch_size=2", "data.workers=2")
    assert losses(one) == pytest.approx(losses(one.parent / "two"), rel=1e-4)
