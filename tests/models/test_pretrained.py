from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.losses.flow import load_flow
from cosmos_lidar.losses.perceptual import Vgg16Features, load_perceptual
from cosmos_lidar.models.pretrained import VGG16


def test_weights_are_found_in_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(DataError, match=r"no such file.*checkpoints.vgg16-397923af.pth.*vgg16\(weights="):
        load_perceptual()
    with pytest.raises(DataError, match=r"no such file.*raft_large_C_T_SKHT_V2-ff5fadd5.pth.*puts it there"):
        load_flow()
    (tmp_path / "checkpoints").mkdir()
    vgg = Vgg16Features()
    torch.save(vgg.state_dict(), VGG16.cached)
    found = load_perceptual().vgg.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in vgg.state_dict().items())
