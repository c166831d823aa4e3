"""Names of models without a network: paths, embedded models, and names that are none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from cosmos_lidar import weights
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.hub import finding
from cosmos_lidar.hub.finding import find_model


def test_paths_and_embedded_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert find_model(tmp_path) == tmp_path
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    (tmp_path / "small-thing").mkdir()
    (tmp_path / "small-thing" / "config.json").write_text("{}")
    assert find_model("cosmos_lidar/small-thing") == tmp_path / "small-thing"
    with pytest.raises(UserError, match="no embedded model 'cosmos_lidar/other'; valid: small-thing"):
        find_model("cosmos_lidar/other")
    with pytest.raises(DataError, match=r"no such file or folder.*org/name of the Hub, or an embedded model \(cosmos_"):
        find_model(tmp_path / "none" / "model.pt")


def test_sizes_are_bounded_before_anything_is_downloaded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(finding, "LARGEST_MODEL", 1000)
    files = [SimpleNamespace(rfilename=name, size=600) for name in ("model.safetensors", "config.json", "x.bin")]
    assert finding._check_listing("org/name", files) == ["model.safetensors", "config.json"]
    with pytest.raises(DataError, match="1.2 KB of weights.*org/name.*1.0 KB or less"):
        finding._check_listing("org/name", files * 2)
    with pytest.raises(DataError, match=r"no safetensors in it, but x.bin.*safetensors"):
        finding._check_listing("org/name", files[2:])
    with pytest.raises(DataError, match="of JSON.*key config.json"):
        finding._check_listing("org/name", [files[0], SimpleNamespace(rfilename="config.json", size=1 << 30)])


def test_one_folder_of_a_pipeline_is_chosen():
    names = ("model_index.json", "vae/config.json", "vae/w.safetensors", "text/w.safetensors", "vae/old/w.safetensors")
    files = [SimpleNamespace(rfilename=name, size=1) for name in names]
    assert finding._check_listing("org/name", files, "vae") == ["vae/config.json", "vae/w.safetensors"]
    with pytest.raises(DataError, match=r"no safetensors in it.*one of its folders: subfolder=text, vae, vae/old"):
        finding._check_listing("org/name", files)
    with pytest.raises(DataError, match="no safetensors in transformer"):
        finding._check_listing("org/name", files, "transformer")
