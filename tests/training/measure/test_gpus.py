from __future__ import annotations

import pytest

from cosmos_lidar.training.measure.gpus import PEAK_BF16_TFLOPS, peak_bf16_tflops


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989.4),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA GB200", 2500.0),
        ("NVIDIA B200", 2250.0),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_names_that_cuda_gives(name: str, peak: float | None) -> None:
    assert peak_bf16_tflops(name) == peak


def test_no_name_hides_a_longer_one() -> None:
    names = list(PEAK_BF16_TFLOPS)
    hidden = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if a in b]
    assert not hidden
