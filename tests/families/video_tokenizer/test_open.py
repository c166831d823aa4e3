from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.video_tokenizer.open import open_codec
from cosmos_lidar.models.tokenizer import build_tokenizer, export_safetensors


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file of a video tokenizer."""
    return export_safetensors(build_tokenizer("CV4x8x8", channels=32, num_res_blocks=1), tmp_path / "CV.safetensors")


def test_a_codec_says_what_its_latents_depend_on(file: Path) -> None:
    codec, facts = open_codec(file, "CV4x8x8", device="cpu", tile=64)
    assert (facts["tokenizer"], facts["dtype"], facts["tile"]) == ("CV4x8x8", "float32", 64)
    assert len(facts["weights_sha256"]) == 64
    assert codec.encode(np.zeros((5, 16, 24, 3), np.uint8)).latents.shape == (16, 2, 2, 3)


def test_other_tokenizers_and_missing_files_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="CV8x8x8: the checkpoint has temporal_compression 4"):
        open_codec(file, "CV8x8x8", device="cpu")
    with pytest.raises(DataError, match="no such file"):
        open_codec((tmp_path / "encoder.jit", tmp_path / "decoder.jit"))
