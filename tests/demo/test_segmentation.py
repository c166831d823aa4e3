from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_lidar import weights
from cosmos_lidar.clips import Clip
from cosmos_lidar.demo import segmentation
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.demo.section import DemoContext, LeftOutError
from cosmos_lidar.families.also.config import AlsoTrainConfig
from cosmos_lidar.recipes.also_semseg import few_labels
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import synthesize_drive
from cosmos_lidar.training.overrides import load_config
from cosmos_lidar.viz.report import Report
from tests.demo.models import tiny_backbone


@pytest.fixture
def labeled(recordings: Recordings) -> Recordings:
    drives = [synthesize_drive(seed, uniform_sensor(16, 128), 1) for seed in range(5)]
    return replace(recordings, train_labeled=drives[:3], held_out_labeled=drives[3:])


def test_what_leaves_it_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recordings: Recordings) -> None:
    tiny_backbone(monkeypatch, tmp_path / "models")
    (clip,) = recordings.held_out
    unknown = [replace(clip, format="kitti")]
    for changed, reason in (
        (replace(recordings, held_out=[]), "no lidar"),
        (recordings, "no sweeps with semantic labels"),
        (replace(recordings, train_labeled=unknown, held_out_labeled=unknown), "labels of kitti .* nuscenes"),
    ):
        with pytest.raises(LeftOutError, match=reason):
            segmentation.make_section(changed, DemoContext(tmp_path))


@pytest.mark.parametrize(("format", "name"), [("release", "synth"), ("nuscenes", "nuscenes"), ("synth", "synth")])
def test_label_maps_of_formats(rendered: Clip, format: str, name: str) -> None:
    assert segmentation.label_map_of(replace(rendered, format=format)).name == name


@pytest.mark.skipif(segmentation.MODEL not in weights.names(), reason="small-backbone is not installed")
def test_the_recipe_has_the_voxels_of_the_embedded_backbone() -> None:
    trained = load_config(AlsoTrainConfig, weights.find(segmentation.MODEL) / weights.CONFIG).model
    model = few_labels().model
    ours, theirs = ((one.backbone, one.width, one.inputs, one.voxel_size) for one in (model, trained))
    assert ours == theirs


@pytest.mark.slow  # two trainings
def test_with_and_without_self_supervision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, labeled: Recordings
) -> None:
    tiny_backbone(monkeypatch, tmp_path / "models")
    context = DemoContext(tmp_path, steps=2)
    section = segmentation.make_section(labeled, context)
    assert set(section.numbers) == {segmentation.WITH, segmentation.WITHOUT}  # the catalog has no small-semseg
    points = [sum(len(clip.points(0)) for clip in labeled.held_out_labeled)] * 2
    counted = [sum(map(sum, one["all_points"]["confusion"])) for one in section.numbers.values()]
    assert counted == points
    report = Report("page")
    section.add_to(report)
    assert "learns 19 classes from 3 labeled sweeps in 2 steps" in report.html()
    again = segmentation.make_section(labeled, context)  # finished runs are not trained again
    assert again.numbers == section.numbers
