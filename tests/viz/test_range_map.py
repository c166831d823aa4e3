import numpy as np
import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.viz import (
    colormap_table,
    error_map_image,
    published_colors,
    quantile_limits,
    range_colors,
    range_map_image,
    stack_images,
)
from cosmos_lidar.viz.range_map import INVENTED, MISSED, NO_RETURN, bar_ticks_m


def test_published_colors_vector():
    ranges = np.array([[5, 10, 50, 100, 0, 7.3]], np.float32)
    wanted = [
        (0.36863, 0.30980, 0.63529), (0.48489, 0.79400, 0.64583), (0.96794, 0.50742, 0.29965),
        (0.61961, 0.00392, 0.25882), (0.82, 0.82, 0.82), (0.24806, 0.59131, 0.71719),
    ]  # fmt: skip
    np.testing.assert_allclose(published_colors(ranges, near_m=5.0, far_m=100.0)[0], wanted, atol=1e-5)


def test_published_limits_are_quantiles_of_the_middle_frame():
    maps = np.zeros((3, 10, 100), np.float32)
    maps[1, 5:] = np.linspace(2, 80, 500).reshape(5, 100)
    limits = quantile_limits(maps[1])
    assert limits.near_m == pytest.approx(np.quantile(maps[1, 5:], 0.01), rel=1e-6)
    assert limits.far_m == pytest.approx(np.quantile(maps[1], 0.99), rel=1e-6)  # zeros count here
    colors = published_colors(maps)
    assert np.array_equal(colors[1, 9, 99], colormap_table("Spectral")[0])
    assert np.all(colors[0] == np.float32(0.82))
    assert np.all(np.isfinite(published_colors(np.zeros((4, 6)))))


def test_range_map_image_shape_and_known_pixels():
    range_m = np.zeros((16, 400), np.float32)
    range_m[3, 7], range_m[3, 8], range_m[4, 9] = 2.0, 100.0, np.sqrt(200.0)
    image = range_map_image(range_m, bar=False, row_scale=3)
    table = np.round(colormap_table("turbo") * 255)
    assert image.shape == (48, 400, 3)
    assert image.dtype == np.uint8
    for row in (9, 10, 11):
        assert np.array_equal(image[row, 7], table[255])
        assert np.array_equal(image[row, 8], table[0])
    assert np.array_equal(image[12, 9], table[128])  # half way between 2 and 100 m in the logarithm
    assert np.array_equal(image[0, 0], NO_RETURN)
    linear = range_map_image(range_m, bar=False, log=False)
    assert np.array_equal(linear[4, 9], table[int((1 - (np.sqrt(200) - 2) / 98) * 256)])


def test_bar_and_caption_are_added():
    range_m = np.full((16, 600), 20.0, np.float32)
    plain, full = range_map_image(range_m, bar=False), range_map_image(range_m, caption="frame 3")
    assert full.shape == (16 + 34, 600, 3)
    assert not np.array_equal(full[:16, :100], plain[:, :100])
    assert np.array_equal(full[:16, 200:], plain[:, 200:])
    assert (full[16:] == 255).sum() + (full[16:].max(axis=2) > 190).sum() > 100  # bar colors and labels
    assert bar_ticks_m(2.0, 100.0) == [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]


def test_invalid_ranges_look_like_no_return():
    colors = range_colors(np.array([0.0, np.nan, -1.0, 1e9]))
    assert np.array_equal(colors[:3], [NO_RETURN] * 3)
    assert np.array_equal(colors[3], np.round(colormap_table("turbo")[0] * 255))


def test_error_map_marks_lost_and_invented_returns():
    original = np.array([[10.0, 10.0, 0.0, 0.0]])
    reconstructed = np.array([[10.0, 0.0, 5.0, 0.0]])
    image = error_map_image(original, reconstructed)
    assert image[0].tolist() == [[68, 1, 84], list(MISSED), list(INVENTED), list(NO_RETURN)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: range_map_image(np.zeros((2, 3, 4))), r"shape \(rows, columns\), this array \(2, 3, 4\)"),
        (lambda: range_map_image(np.zeros((2, 3)), near_m=50, far_m=5), "0 < near_m < far_m"),
        (lambda: error_map_image(np.zeros((2, 3)), np.zeros((2, 4))), r"one shape, got \(2, 3\) and \(2, 4\)"),
        (lambda: stack_images([]), "no images"),
        (lambda: stack_images([np.zeros((4, 4))]), r"this array \(4, 4\)"),
    ],
)
def test_wrong_shapes_are_named(call, message):
    with pytest.raises(UserError, match=message):
        call()
