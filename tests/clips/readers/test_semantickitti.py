from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import find_readers, open_clips
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from tests.clips.readers import test_kitti as kitti
from tests.clips.readers.test_kitti import odometry


def write_sample(root: Path) -> Path:
    """The sequence of the tests of KITTI with labels for one of its scans."""
    kitti.write_sample(root)
    labels = root / "sequences" / "03" / "labels"
    labels.mkdir()
    np.full(60, (7 << 16) | 10, "<u4").tofile(labels / "000003.label")
    return root


def strengths(path: Path) -> dict[str, Strength]:
    readers = find_readers()
    return {name: readers[name].recognise(path) for name in ("kitti", "semantickitti")}


@pytest.mark.parametrize("below", ["", "sequences", "sequences/03", "sequences/03/velodyne"])
def test_labels_decide_between_the_two_readers(tmp_path, below):
    odometry(tmp_path)
    assert strengths(tmp_path / below) == {"kitti": Strength.EXACT, "semantickitti": Strength.GENERIC}
    assert open_clips(tmp_path / below)[0].format == "kitti"
    (tmp_path / "sequences/03/labels").mkdir()
    assert strengths(tmp_path / below) == {"kitti": Strength.GENERIC, "semantickitti": Strength.EXACT}
    assert open_clips(tmp_path / below)[0].format == "semantickitti"


def test_either_reader_can_be_asked_for(tmp_path):
    write_sample(tmp_path)
    (as_kitti,) = open_clips(tmp_path, format="kitti")
    (as_semantic,) = open_clips(tmp_path, format="semantickitti")
    assert (as_kitti.format, as_semantic.format) == ("kitti", "semantickitti")
    assert np.array_equal(as_kitti.world_SE3_lidar, as_semantic.world_SE3_lidar)
    assert as_kitti.read_sweep(3).labels.tolist() == as_semantic.read_sweep(3).labels.tolist() == [10] * 60
    odometry(tmp_path / "unlabeled")
    assert open_clips(tmp_path / "unlabeled", format="semantickitti")[0].format == "semantickitti"


def test_sequences_without_labels_beside_others(tmp_path):
    write_sample(tmp_path)
    kitti.scan(tmp_path / "sequences/11/velodyne/000000.bin")
    labeled, unlabeled = open_clips(tmp_path)
    assert (labeled.clip_id, unlabeled.clip_id) == ("03", "11")
    assert (labeled.format, unlabeled.format) == ("semantickitti", "semantickitti")
    assert unlabeled.read_sweep(0).labels is None


def test_its_own_poses_go_before_those_of_kitti(tmp_path):
    write_sample(tmp_path)  # poses/03.txt goes 1 m per frame
    lines = [" ".join(map(str, np.column_stack([np.eye(3), [0, 0, 2.0 * k]]).ravel())) for k in range(4)]
    (tmp_path / "sequences/03/poses.txt").write_text("\n".join(lines) + "\n")
    steps = {
        name: float(np.diff(open_clips(tmp_path, format=name)[0].world_SE3_lidar[:, 0, 0, 3]).mean())
        for name in ("kitti", "semantickitti")
    }
    assert steps == pytest.approx({"kitti": 1.0, "semantickitti": 2.0})


def test_semantic_labels(tmp_path):
    folder = odometry(tmp_path, poses=False)
    (folder / "labels").mkdir()
    np.array([5 << 16 | 252], "<u4").tofile(folder / "labels" / "000001.label")
    (clip,) = open_clips(folder)
    assert (clip.format, clip.notes) == ("semantickitti", ("no poses",))
    assert clip.read_sweep(1).labels.tolist() == [252]
    assert clip.read_sweep(1).labels.dtype == np.uint16
    assert clip.read_sweep(1).instance.tolist() == [5]
    assert clip.read_sweep(0).labels is None
    np.array([1, 2], "<u4").tofile(folder / "labels" / "000001.label")
    with pytest.raises(DataError, match="8 bytes of labels for 1 points.*000001.label, clip 03"):
        clip.read_sweep(1)


def test_real_semantic_labels(test_data):
    (clip,) = open_clips(test_data / "semantickitti")
    sweep = clip.read_sweep(0)
    assert clip.clip_id == "08"
    assert len(sweep.points) == len(sweep.labels) == 123389
    assert set(np.unique(sweep.labels)) == {0, 1, 10, 11, 30, 40, 44, 48, 50, 51, 52, 70, 71, 72, 80, 81, 99, 252, 254}
    road = np.median(sweep.points[sweep.labels == 40, 2])
    assert -2.0 < road < -1.5  # the scanner is 1.73 m above the road
