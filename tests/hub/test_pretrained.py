"""``from_pretrained`` of folders; names of the Hub are in test_upload.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.hub import from_pretrained
from cosmos_lidar.hub.opening import OpenedModel
from cosmos_lidar.hub.package import PackageOptions, write_package
from tests.hub.models import make


def test_models_of_another_family_are_refused(tmp_path: Path):
    family, network = make("backbone")
    write_package(OpenedModel(network, family), tmp_path, tmp_path / "model", PackageOptions("a/b", license="mit"))
    found = from_pretrained(tmp_path / "model", family="also")
    assert not found.training
    assert type(found) is type(network)
    with pytest.raises(DataError, match=r"weights of the family also \(.*\) .*model\] Expected: a model of multiview"):
        from_pretrained(tmp_path / "model", family="multiview")
    with pytest.raises(UserError, match="unknown family 'lidars'; valid: lidar_tokenizer"):
        from_pretrained(tmp_path / "model", family="lidars")
