import numpy as np
import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidar_tokenizer.merge import merge_pixels

ROWS = [
    ([0, 1, 2, 3, 4, 5, 6, 7], [1, 2, 4, 6]),
    ([8, 9, 0, 0, 12, 13, 14, 15], [8, 0, 12, 14]),
    ([48, 49, 50, 51, 7.5, 53, 54, 55], [48, 50, 7.5, 54]),
    ([56, 57, 58, 59, 60, 61, 62, 0], [56, 58, 60, 62]),
]


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_nearest_return_of_two_columns(row, expected):
    np.testing.assert_array_equal(merge_pixels(np.float32([row])).range_m, [expected])


def test_source_is_the_kept_pixel_of_the_full_map():
    generator = np.random.default_rng(0)
    range_m = generator.uniform(1, 50, (4, 12)).astype(np.float32) * (generator.random((4, 12)) > 0.4)
    for method in ("scatter_min", "scatter_max", "every_n"):
        merged = merge_pixels(range_m, rows=2, columns=3, method=method)
        assert merged.range_m.shape == (2, 4)
        np.testing.assert_array_equal(range_m.reshape(-1)[merged.source], merged.range_m)


def test_nearest_of_each_block_by_hand():
    generator = np.random.default_rng(1)
    range_m = generator.uniform(1, 50, (6, 16)).astype(np.float32) * (generator.random((6, 16)) > 0.4)
    merged = merge_pixels(range_m, 3, 4)
    for row, column in np.ndindex(2, 4):
        block = range_m[3 * row : 3 * row + 3, 4 * column : 4 * column + 4]
        assert merged.range_m[row, column] == block[block > 0].min()


def test_other_methods_and_rows():
    range_m = np.float32([[0, 3, 5, 0], [2, 0, 9, 4]])
    np.testing.assert_array_equal(merge_pixels(range_m, 1, 2, "scatter_max").range_m, [[3, 5], [2, 9]])
    np.testing.assert_array_equal(merge_pixels(range_m, 1, 2, "every_n").range_m, [[0, 5], [2, 9]])
    np.testing.assert_array_equal(merge_pixels(range_m, 2, 2).range_m, [[2, 4]])
    np.testing.assert_array_equal(merge_pixels(range_m, 1, 1).range_m, range_m)


def test_refuses_what_does_not_divide_and_unknown_methods():
    with pytest.raises(UserError, match="a range map of 4 x 9 pixels cannot be merged by 1 x 2"):
        merge_pixels(np.ones((4, 9), np.float32))
    with pytest.raises(UserError, match="'median'; valid: scatter_min, scatter_max, every_n"):
        merge_pixels(np.ones((4, 8), np.float32), method="median")
