"""Loss and validation of segmentation: what counts, over which points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("nemo")

from cosmos_lidar.families.also.semseg.data import SemsegBatch, ragged_fields
from cosmos_lidar.families.also.semseg.job import make_dry_model
from cosmos_lidar.families.also.semseg.model import SemsegModel, predicted_classes
from cosmos_lidar.families.also.semseg.samples import LabeledCloud, whole_cloud
from cosmos_lidar.metrics.iou import ConfusionMatrix
from cosmos_lidar.models.sparse.voxels import Voxels
from energon_tasks.batches import Ragged
from tests.families.also.semseg.sweeps import room, small_run, write_label_map

TABLE = np.zeros(64, np.int64)
TABLE[[40, 50]] = 1, 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SemsegModel:
    torch.manual_seed(0)
    made = make_dry_model(small_run(write_label_map(tmp_path_factory.mktemp("map")), width=8))
    for module in made.network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 1.0  # one batch gives all statistics
    made.step(batch_of(made))
    return made


def batch_of(model: SemsegModel, empty: bool = False) -> SemsegBatch:
    sweeps, clouds = [room(0), room(1)], []
    for sweep in sweeps:
        content = (
            torch.from_numpy(sweep.points),
            torch.from_numpy(sweep.intensity),
            torch.from_numpy(TABLE[sweep.labels]),
        )
        clouds.append(whole_cloud(*content, model.run.model, model.run.data))
    if empty:
        voxels = clouds[1].voxels
        none = Voxels(voxels.coords[:0], voxels.feats[:0], voxels.voxel_of_point[:0])
        clouds[1] = LabeledCloud(none, clouds[1].points[:0], clouds[1].classes[:0])
    every = [(torch.from_numpy(sweep.points), torch.from_numpy(TABLE[sweep.labels])) for sweep in sweeps]
    return SemsegBatch(
        __key__=["a", "b"], __restore_key__=(), clip_ids=["a", "b"], **ragged_fields(clouds),
        all_points=Ragged.from_list([points[: 0 if empty and n else None] for n, (points, _) in enumerate(every)]),
        all_classes=Ragged.from_list([classes[: 0 if empty and n else None] for n, (_, classes) in enumerate(every)]),
    )  # fmt: skip


def test_the_loss_is_that_of_labeled_points(model: SemsegModel):
    batch = batch_of(model)
    values = model.step(batch)
    scores, classes = model.network(**model.inputs(batch)), batch.classes.values
    wanted = torch.nn.functional.cross_entropy(scores[classes > 0], classes[classes > 0])
    assert float(values["cross_entropy"].detach()) == pytest.approx(float(wanted.detach()), rel=1e-4)
    assert float(values["lovasz"].detach()) == 0
    model.run.model.loss.lovasz = 0.5
    both = model.step(batch)
    assert float(both["loss"].detach()) == pytest.approx(
        float((both["cross_entropy"] + 0.5 * both["lovasz"]).detach()), rel=1e-5
    )
    assert 0 < float(both["lovasz"].detach()) <= 1
    model.run.model.loss.lovasz = 0.0


def test_an_empty_second_cloud_changes_nothing_for_the_first(model: SemsegModel):
    model.eval()
    whole, part = batch_of(model), batch_of(model, empty=True)
    with torch.no_grad():
        count = len(part.points[0])
        first = model.network(**model.inputs(whole))[:count]
        assert torch.allclose(model.network(**model.inputs(part)), first, atol=1e-5)
        assert model.pool_validation([model.validation_step(part, 0)])["val/miou"] > 0
    model.train()


def test_iou_is_over_all_points_of_all_batches(model: SemsegModel):
    model.eval()
    batch = batch_of(model)
    with torch.no_grad():
        values = model.pool_validation([model.validation_step(batch, 0)] * 2)
        found = predicted_classes(model.network(**model.inputs(batch))).numpy()
    model.train()
    assert set(found) == {1, 2}
    every, decimated = ConfusionMatrix(3), ConfusionMatrix(3)
    decimated.add(batch.classes.values.numpy(), found)
    for number in range(2):
        seen, wanted = batch.points[number], batch.all_points[number]
        nearest = torch.cdist(wanted, seen, compute_mode="donot_use_mm_for_euclid_dist").argmin(1).numpy()
        rows = slice(*batch.points.offsets[number : number + 2].tolist())
        every.add(batch.all_classes[number].numpy(), found[rows][nearest])
    assert values["val/miou"] == pytest.approx(every.mean_iou())
    assert values["val/miou_decimated"] == pytest.approx(decimated.mean_iou())
    assert values["val/accuracy"] == pytest.approx(every.accuracy())
    assert set(values) == set(model.val_columns)


def test_the_ignored_class_is_never_predicted():
    assert predicted_classes(torch.tensor([[9.0, 1.0, 2.0], [9.0, 3.0, 2.0]])).tolist() == [2, 1]


def test_example_batches_are_such_as_the_step_takes(model: SemsegModel):
    assert torch.isfinite(model.step(model.example_batch(2))["loss"])
