from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.metrics.lpips import VARIANTS, AlexNetFeatures, Lpips, _packaged_heads, _read_heads, load_lpips


def clips(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Three(nn.Module):
    """Stands for a network: one layer of three channels."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


def test_lpips_by_its_definition():
    weights = torch.tensor([0.5, 1.0, 2.0])
    distance = Lpips(Three(), [weights.view(1, 3, 1, 1)], "vgg")
    x, y = clips(2, 3, 16, 16).numpy(), clips(2, 3, 16, 16, seed=1).numpy()
    wanted = np.zeros(2)
    for b in range(2):
        for row in range(16):
            for column in range(16):
                a, c = (v[b, :, row, column] / np.linalg.norm(v[b, :, row, column]) for v in (x, y))
                wanted[b] += float(weights.numpy() @ (a - c) ** 2) / 256
    assert distance(torch.from_numpy(x), torch.from_numpy(y)).tolist() == pytest.approx(wanted, rel=1e-5)
    assert distance(torch.from_numpy(x), torch.from_numpy(x)).tolist() == [0, 0]
    with pytest.raises(DataError, match=r"images of 8 x 16.*at least 16 x 16 for LPIPS \(vgg\)"):
        distance(torch.zeros(1, 3, 8, 16), torch.zeros(1, 3, 8, 16))


def test_lpips_reads_the_two_published_files(tmp_path: Path):
    torch.manual_seed(0)
    torch.save(AlexNetFeatures().state_dict(), tmp_path / "alexnet.pth")
    channels = (64, 192, 384, 256, 256)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, n in enumerate(channels)}
    torch.save(heads, tmp_path / "alex.pth")
    distance = load_lpips("alex", tmp_path / "alexnet.pth", tmp_path / "alex.pth")
    assert torch.equal(distance.heads[2], heads["lin2.model.1.weight"])
    image = clips(1, 3, 64, 80)
    near, far = (distance((image + size * clips(1, 3, 64, 80, seed=1)), image).item() for size in (0.1, 0.4))
    assert 0 < near < far
    assert not any(parameter.requires_grad for parameter in distance.parameters())
    with pytest.raises(DataError, match="at least 63 x 63"):
        distance(clips(1, 3, 62, 80), clips(1, 3, 62, 80))
    with pytest.raises(DataError, match=r"\(1, 64, 1, 1\), not finite numbers \(1, 128, 1, 1\).*lin1|lin1"):
        load_lpips("vgg", tmp_path / "alexnet.pth", tmp_path / "alex.pth")
    del heads["lin4.model.1.weight"]
    torch.save(heads, tmp_path / "alex.pth")
    with pytest.raises(DataError, match=r"missing.*key lin4.model.1.weight"):
        load_lpips("alex", tmp_path / "alexnet.pth", tmp_path / "alex.pth")


def test_what_lpips_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    heads = {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, n in enumerate((64, 128, 256, 512, 512))}
    torch.save(heads, tmp_path / "vgg.pth")
    with pytest.raises(DataError, match=r"no such file.*vgg16-397923af.pth.*VGG16 weights"):
        load_lpips("vgg", head_weights=tmp_path / "vgg.pth")
    with pytest.raises(DataError, match=r"no such file.*absent.pth.*LPIPS weights 0.1"):
        load_lpips("vgg", head_weights=tmp_path / "absent.pth")
    with pytest.raises(UserError, match="LPIPS variant 'squeeze'; valid: vgg, alex"):
        load_lpips("squeeze")


@pytest.mark.parametrize("variant", VARIANTS)
def test_packaged_weights_are_read(variant: str):
    pytest.importorskip("torchmetrics")
    heads = _read_heads(_packaged_heads(variant), variant)  # files of an early torch
    assert len(heads) == 5
    assert all(float(head.min()) >= 0 for head in heads)
