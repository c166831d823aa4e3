from __future__ import annotations

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.range_features import PooledLatents


def test_latents_are_averaged_over_a_grid():
    features = PooledLatents(lambda x: torch.stack([x, 2 * x], 1), weights="0123456789abcdef", rows=2, columns=4)
    range_m = np.arange(2 * 4 * 8, dtype=np.float32).reshape(2, 4, 8)
    found = features(range_m)
    blocks = range_m.reshape(2, 2, 2, 4, 2).mean((2, 4)).reshape(2, 8)
    assert np.allclose(found, np.concatenate([blocks, 2 * blocks], 1))
    assert features.name == "tokenizer latents, mean over 2 x 4 parts, weights 0123456789ab"
    with pytest.raises(DataError, match=r"latents of 4 x 3.*at least 2 x 4"):
        features(range_m[:, :, :3])
    with pytest.raises(DataError, match=r"range maps of \(4, 8\)"):
        features(range_m[0])
