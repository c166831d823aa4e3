from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.models.tokenizer.wavelets_3d import HaarPatcher3d, HaarUnpatcher3d

VECTORS = np.load(Path(__file__).parents[2] / "vectors" / "video_tokenizer.npz")


@pytest.mark.parametrize(("case", "source", "patch"), [("3d_p2", "3d_in", 2), ("3d_rgb_p4", "3d_rgb_in", 4)])
def test_haar_patches_of_clips(case: str, source: str, patch: int):
    x = torch.from_numpy(VECTORS[f"haar/{source}"])
    bands = HaarPatcher3d(patch)(x)
    assert np.abs(bands.numpy() - VECTORS[f"haar/{case}"]).max() < 2e-6
    assert torch.allclose(HaarUnpatcher3d(patch)(bands), x, atol=2e-6)
