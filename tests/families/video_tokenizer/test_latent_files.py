"""Latents and indices in files: what was written is read back; what is no such file is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.video_tokenizer.codec import EncodedVideo
from cosmos_lidar.families.video_tokenizer.latent_files import read_encoded, read_facts, write_encoded

CROP = (1, 2, 3, 8, 20, 30)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_latents_come_back(tmp_path: Path, dtype: torch.dtype) -> None:
    latents = torch.randn(16, 3, 4, 5).to(dtype).transpose(2, 3)  # not contiguous
    path, given = tmp_path / "a.safetensors", {"fps": 10.0, "times_s": [0, 1]}
    write_encoded(path, EncodedVideo(latents, None, 7, 18, 27, CROP), given)
    encoded, facts = read_encoded(path)
    assert torch.equal(encoded.latents, latents)
    assert (encoded.latents.dtype, encoded.indices) == (dtype, None)
    assert (encoded.frames, encoded.height, encoded.width, encoded.crop) == (7, 18, 27, CROP)
    assert facts == given
    assert read_facts(path) == given | {"frames": 7, "height": 18, "width": 27, "crop": list(CROP)}


def test_indices_come_back(tmp_path: Path) -> None:
    indices = torch.randint(0, 64_000, (3, 4, 5), dtype=torch.int32)
    write_encoded(tmp_path / "a.safetensors", EncodedVideo(None, indices, 7, 18, 27, CROP), {})
    encoded, _ = read_encoded(tmp_path / "a.safetensors")
    assert encoded.latents is None
    assert torch.equal(encoded.indices, indices)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save

    path = tmp_path / "a.safetensors"
    for content in (
        b"",
        b"text",
        save({"latents": torch.zeros(1)}),
        save({"x": torch.zeros(1)}, {"cosmos_lidar": "{"}),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a.safetensors.*`cosmos-lidar tokenize` wrote"):
            read_facts(path)
    path.write_bytes(save({"latents": torch.zeros(1)}, {"cosmos_lidar": json.dumps({"frames": 1, "height": 2})}))
    with pytest.raises(DataError, match="not readable: 'width'"):
        read_encoded(path)
    with pytest.raises(DataError, match="cannot write"):
        write_encoded(path / "b.safetensors", EncodedVideo(torch.zeros(1), None, 1, 1, 1, CROP), {})
