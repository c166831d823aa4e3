from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidargen.canvas import CanvasLayout


def test_the_published_canvas():
    layout = CanvasLayout()
    assert layout.size == (88, 224)
    lidar, images = torch.rand(2, 16, 64, 224), torch.rand(2, 3, 16, 88, 160)
    canvas = layout.place(lidar, images)
    assert canvas.shape == (2, 16, 4, 88, 224)
    assert torch.equal(layout.lidar_of(canvas), lidar)
    assert torch.equal(canvas[:, :, 1:, :88, :160].transpose(1, 2), images)
    assert torch.equal(canvas[:, :, 2, :, :160], images[:, 1])  # slot 2 is the second image
    assert canvas[:, :, 0, 64:].abs().sum() == 0
    assert canvas[:, :, 1:, :, 160:].abs().sum() == 0
    assert layout.given(canvas).flatten().tolist() == [0, 1, 1, 1]
    assert 4 * (88 // 2) * (224 // 2) == 19_712


def test_layouts_of_other_sensors_and_wrong_latents():
    layout = CanvasLayout(lidar=(7, 33), image=(9, 16), views=6)
    assert layout.size == (10, 34)
    with pytest.raises(DataError, match=r"lidar \(1, 16, 8, 33\)"):
        layout.place(torch.zeros(1, 16, 8, 33), torch.zeros(1, 6, 16, 9, 16))
    with pytest.raises(DataError, match=r"images \(1, 5, 16, 9, 16\)"):
        layout.place(torch.zeros(1, 16, 7, 33), torch.zeros(1, 5, 16, 9, 16))
    with pytest.raises(UserError, match="at least one camera"):
        CanvasLayout(views=0)
