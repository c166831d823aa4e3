from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.lidar_tokenizer.open import open_tokenizer
from cosmos_lidar.models.tokenizer import build_tokenizer, export_safetensors


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Return the files of a tokenizer of images and of one of videos."""
    for name in ("CI8x8", "CV4x8x8"):
        export_safetensors(build_tokenizer(name, channels=32, num_res_blocks=1), tmp_path / f"{name}.safetensors")
    return {name: tmp_path / f"{name}.safetensors" for name in ("CI8x8", "CV4x8x8")}


def test_a_tokenizer_is_ready_for_inference(files: dict[str, Path]) -> None:
    opened = open_tokenizer([files["CI8x8"]], device="cpu", dtype=torch.bfloat16)
    assert not opened.network.training
    assert {weight.dtype for weight in opened.network.parameters()} == {torch.bfloat16}
    assert opened.description["files"] == [str(files["CI8x8"])]
    same = open_tokenizer([files["CI8x8"]], device="cpu")
    assert same.description["weights_sha256"] == opened.description["weights_sha256"]  # of the file, in any precision
    assert same.network.encode(torch.zeros(1, 3, 16, 16)).shape[-2:] == (2, 2)


def test_other_files_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="CV tokenizer, for videos"):
        open_tokenizer([files["CV4x8x8"]], device="cpu")
    assert open_tokenizer([files["CV4x8x8"]], device="cpu", any_kind=True).network.config.family == "CV"
    with pytest.raises(DataError, match="no such tokenizer"):
        open_tokenizer([tmp_path / "encoder.jit", tmp_path / "decoder.jit"])
