import numpy as np
import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.viz import caption_image, stack_images, write_png
from cosmos_lidar.viz.images import draw_text, png_bytes, resize_rows, text_width, to_uint8


def test_stack_fills_up_narrow_images():
    top, below = np.full((2, 5, 3), 10, np.uint8), np.ones((3, 3, 3))
    out = stack_images([top, below], gap_px=1, background=(1, 2, 3))
    assert out.shape == (6, 5, 3)
    assert out[2].tolist() == [[1, 2, 3]] * 5
    assert out[4].tolist() == [[255] * 3] * 3 + [[1, 2, 3]] * 2


def test_caption_darkens_its_box_and_writes_white():
    image = caption_image(np.full((60, 200, 3), 100, np.uint8), "Original")
    assert image[12, 12].tolist() == [50, 50, 50]
    assert image.max() == 255
    assert image[59, 199].tolist() == [100, 100, 100]


@pytest.mark.parametrize("colors", [3, 5000])
def test_png_round_trip(tmp_path, colors):
    from PIL import Image

    index = np.random.default_rng(0).integers(0, colors, (80, 90))
    image = np.stack([index % 256, index // 256, index % 7], axis=2).astype(np.uint8)
    write_png(tmp_path / "deep" / "a.png", image)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "deep" / "a.png").convert("RGB")), image)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.png"]
    assert png_bytes(image)[:4] == b"\x89PNG"


def test_floats_become_bytes_and_other_shapes_are_refused():
    values = np.array([[[0.0, 0.5, 1.0], [-1.0, 2.0, np.nan]]])
    assert to_uint8(values).tolist() == [[[0, 128, 255], [0, 255, 0]]]
    bytes_ = np.full((2, 2, 3), 7, np.uint8)
    assert to_uint8(bytes_) is bytes_
    with pytest.raises(UserError, match=r"\(height, width, 3\), this array \(4, 4\)"):
        to_uint8(np.zeros((4, 4)))
    with pytest.raises(UserError, match="no images to stack"):
        stack_images([])


def test_rows_are_repeated():
    rows = np.arange(6).reshape(2, 1, 3)
    assert resize_rows(rows, 3)[:, 0, 0].tolist() == [0, 0, 0, 3, 3, 3]
    assert resize_rows(rows, 1) is rows


def test_text_takes_the_width_that_is_told():
    black = np.zeros((30, 200, 3), np.uint8)
    drawn = draw_text(black, "range 12.5 m", (10, 5), 14, color=(255, 0, 0))
    _, columns = np.nonzero(drawn[..., 0])
    assert not drawn[..., 1:].any()
    assert 8 <= columns.min()
    assert columns.max() <= 10 + text_width("range 12.5 m", 14)
    assert columns.max() >= 0.8 * (10 + text_width("range 12.5 m", 14))
    assert not black.any()
