import numpy as np
import pytest

from cosmos_lidar.clips.blocks import BLOCK
from cosmos_lidar.clips.files import clean_id, read_class_labels, read_float_points, read_labels_and_instances
from cosmos_lidar.errors import DataError


def test_points_are_read_by_the_number_of_columns(tmp_path):
    points = np.arange(12, dtype="<f4").reshape(3, 4)
    points.tofile(tmp_path / "a.bin")
    read, values, kept = read_float_points(tmp_path / "a.bin", 4, [3])
    np.testing.assert_array_equal(read, points[:, :3])
    np.testing.assert_array_equal(values[3], points[:, 3])
    assert kept.all()
    with pytest.raises(DataError, match="48 bytes are no whole number of points"):
        read_float_points(tmp_path / "a.bin", 5)


def test_rows_without_return_are_left_out_of_every_block(tmp_path):
    points = np.random.default_rng(0).uniform(1, 9, (2 * BLOCK + 9, 4)).astype("<f4")
    none = np.arange(len(points)) % 5 == 0
    points[none, :3] = np.array([[0, 0, 0], [np.nan, 1, 1], [1, np.inf, 1]])[np.arange(none.sum()) % 3]
    points.tofile(tmp_path / "a.bin")
    read, values, kept = read_float_points(tmp_path / "a.bin", 4, [3])
    np.testing.assert_array_equal(kept, ~none)
    np.testing.assert_array_equal(read, points[~none, :3])
    np.testing.assert_array_equal(values[3], points[~none, 3])


def test_impossible_coordinates_name_the_first_point(tmp_path):
    points = np.ones((4, 4), "<f4")
    points[1, 1], points[2, 1], points[3, 0] = np.nan, -1e6, 1e6
    points.tofile(tmp_path / "a.bin")
    message = r"2 of 4 points have impossible coordinates, the first is 1 -1e\+06 1"
    with pytest.raises(DataError, match=message) as caught:
        read_float_points(tmp_path / "a.bin", 4)
    assert caught.value.key == "point 2"


def test_an_image_is_no_points(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(24))
    with pytest.raises(DataError, match="PNG image, not points"):
        read_float_points(tmp_path / "a.bin", 4)


def test_labels_hold_class_and_instance_and_must_be_as_many_as_points(tmp_path):
    np.array([(7 << 16) | 40, 10], "<u4").tofile(tmp_path / "a.label")
    classes, instances = read_labels_and_instances(tmp_path / "a.label", 2)
    assert (classes.tolist(), instances.tolist()) == ([40, 10], [7, 0])
    assert read_class_labels(tmp_path / "a.label", "<u4", 2).tolist() == [40, 10]
    with pytest.raises(DataError, match="8 bytes of labels for 3 points"):
        read_class_labels(tmp_path / "a.label", "<u4", 3)
    with pytest.raises(DataError, match=r"cannot be read: No such file.*gone\.label"):
        read_class_labels(tmp_path / "gone.label", "<u4", 3)
    (tmp_path / "folder.label").mkdir()
    with pytest.raises(DataError, match="no plain file"):
        read_class_labels(tmp_path / "folder.label", "<u4", 0)


@pytest.mark.parametrize(("text", "name"), [("a/b c.d", "a_b_c_d"), ("./..", "clip")])
def test_names_of_clips_are_names_of_files(text, name):
    assert clean_id(text) == name
