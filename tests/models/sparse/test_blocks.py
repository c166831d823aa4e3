from __future__ import annotations

import torch

from cosmos_lidar.models.sparse.blocks import ConvBlock, ResidualBlock, UpStage, stage
from tests.models.sparse.dense import dense_output, random_voxels


def test_a_residual_block_is_its_convolutions_and_a_shortcut() -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(3, 5).double().eval(), random_voxels()
    first, _, _, second, _ = block.net
    scale = 1 / (1 + 1e-5) ** 0.5  # of batch norm with its first statistics
    batch, i, j, k = x.coords.unbind(1)
    inner = x.with_feats((dense_output(x, first)[batch, :, k, j, i] * scale).relu())
    shortcut = x.feats @ block.downsample[0].kernel
    wanted = ((dense_output(inner, second)[batch, :, k, j, i] + shortcut) * scale).relu()
    torch.testing.assert_close(block(x).feats, wanted)


def test_the_shortcut_of_equal_channels_has_no_parameters() -> None:
    assert not list(ResidualBlock(4, 4).downsample.parameters())
    assert ResidualBlock(3, 4).downsample[0].kernel.shape == (3, 4)


def test_up_is_where_down_came_from() -> None:
    x = random_voxels()
    down = stage(3, 6, blocks=2).double()(x)
    out = UpStage(6, 4, 3, blocks=1).double()(down, x)
    assert down.stride == (2, 2, 2)
    assert out.sites is x.sites
    assert out.feats.shape == (len(x.coords), 4)


def test_skip_features_come_after_those_from_below() -> None:
    x = random_voxels()
    up = UpStage(3, 3, 3, blocks=1).double().eval()
    down = ConvBlock(3, 3).double().eval()(x)
    with torch.no_grad():
        block = up[1][0]
        for parameter in (block.net[0].kernel, block.net[3].kernel, block.downsample[0].kernel):
            parameter.zero_()
        block.downsample[0].kernel[3:] = torch.eye(3)
        out = up(down, x).feats
    torch.testing.assert_close(out, x.feats.clamp(min=0) / (1 + 1e-5) ** 0.5)
