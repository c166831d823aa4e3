from __future__ import annotations

import torch

from cosmos_lidar.models.dit.patches import cut_patches, join_patches, padding_channel


def test_values_of_a_token_are_channel_slowest() -> None:
    x = torch.arange(2 * 3 * 4 * 6).view(1, 2, 3, 4, 6)
    patches = cut_patches(x, 2, 1)
    assert patches.shape == (1, 3 * 2 * 3, 8)
    token = patches[0, 1 * 6 + 1 * 3 + 2]  # time 1, row 1, column 2
    assert token.tolist() == x[0, :, 1, 2:4, 4:6].flatten().tolist()


def test_outputs_of_a_token_are_channel_fastest() -> None:
    patches = torch.arange(3 * 2 * 3 * 8).view(1, 18, 8)
    x = join_patches(patches, (3, 2, 3), 2, 1)
    assert x.shape == (1, 2, 3, 4, 6)
    token = x[0, :, 1, 2:4, 4:6].permute(1, 2, 0).flatten()
    assert token.tolist() == patches[0, 11].tolist()


def test_padding_is_that_of_the_nearest_pixel() -> None:
    x, mask = torch.zeros(1, 4, 3, 2, 4), torch.zeros(1, 1, 16, 32)
    mask[..., 8:, 24:] = 1
    assert padding_channel(mask, x)[0, 0, 2].tolist() == [[0, 0, 0, 0], [0, 0, 0, 1]]
    assert not padding_channel(None, x).any()
