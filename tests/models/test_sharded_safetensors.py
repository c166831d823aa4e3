"""Index files of sharded safetensors: only files beside them, and all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.sharded_safetensors import files_of_index, index_in, is_index


def test_files_beside_the_index(tmp_path: Path) -> None:
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    names = ["b.safetensors", "a.safetensors"]
    for name in names:
        (tmp_path / name).touch()
    index.write_text(json.dumps({"weight_map": dict(zip("xyz", [*names, names[0]], strict=True))}))
    assert is_index(index)
    assert index_in(tmp_path) == index
    assert files_of_index(index) == [tmp_path / name for name in sorted(names)]
    (tmp_path / "other.safetensors.index.json").touch()
    assert index_in(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"weight_map": {"x": "/etc/passwd"}}', "names no files beside it"),
        ('{"weight_map": {"x": "../a.safetensors"}}', "names no files beside it"),
        ('{"weight_map": {"x": "a/b.safetensors"}}', "names no files beside it"),
        ('{"weight_map": {"x": 3}}', "names no files beside it"),
        ('{"weight_map": {}}', "names no files beside it"),
        ('{"weight_map": 3}', "not readable"),
        ("{", "not readable"),
        ('{"weight_map": {"x": "a.safetensors"}}', "1 of 1 files that it names are missing, such as a.safetensors"),
    ],
)
def test_other_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)
    with pytest.raises(DataError, match=message):
        files_of_index(index)
