"""``dataset.yaml`` describes data and names no code; what does is refused by file, key and value."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.energon_yaml import DatasetYaml, read_dataset_yaml
from tests.shards.energon_folders import CRUDE

IMAGES = "sample_type:\n  __module__: megatron.energon\n  __class__: ImageSample\nfield_map:\n  image: mp4\n"


def read(tmp_path: Path, text: str) -> DatasetYaml:
    (tmp_path / "dataset.yaml").write_text(text)
    return read_dataset_yaml(tmp_path / "dataset.yaml")


def test_what_our_writers_and_energon_prepare_write(tmp_path: Path) -> None:
    ours = read(tmp_path, CRUDE + "subflavors:\n  sample_type: lidar\n  weather: [rain, 2]\n")
    assert ours.sample_class == "CrudeWebdataset"
    assert ours.subflavors == {"sample_type": "lidar", "weather": ["rain", 2]}
    assert read(tmp_path, CRUDE) == DatasetYaml()
    images = read(tmp_path, IMAGES)
    assert (images.sample_class, images.field_map) == ("ImageSample", {"image": "mp4"})
    standard = "__module__: megatron.energon\n__class__: StandardWebdatasetFactory\n" + IMAGES
    assert read(tmp_path, standard) == images
    older = "__module__: megatron.energon\n__class__: ImageWebdataset\nfield_map:\n  image: mp4\n"
    assert read(tmp_path, older) == images


@pytest.mark.parametrize(
    ("text", "key", "value", "valid"),
    [
        (CRUDE + "part_filter: filter.py:only_lidar\n", "part_filter", "filter.py:only_lidar", "subflavors"),
        (CRUDE + "sample_loader: sample_loader.py:load\n", "sample_loader", "sample_loader.py:load", "subflavors"),
        (CRUDE.replace("megatron.energon", "os"), "__module__", "os", "megatron.energon"),
        (CRUDE.replace("megatron.energon", "megatron.energon.evil"), "__module__", "energon.evil", "megatron.energon"),
        (CRUDE.replace("CrudeWebdataset", "JoinedWebdatasetFactory"), "__class__", "Joined", "CrudeWebdataset"),
        (CRUDE.replace("__class__", "__function__"), "__function__", "CrudeWebdataset", "__class__"),
        (CRUDE + "subflavors:\n  x:\n    __module__: os\n    __function__: system\n", "subflavors.x", "system", "text"),
        (CRUDE + "subflavors:\n  __module__: os\n", "subflavors.__module__", "os", "names that do not begin with __"),
        (CRUDE + "subflavors: [1]\n", "subflavors", "[1]", "a mapping"),
        (CRUDE + "path: /elsewhere\n", "path", "/elsewhere", "subflavors"),
        (IMAGES.replace("ImageSample", "OCRSample"), "sample_type.__class__", "OCRSample", "ImageSample"),
        (IMAGES + "sample_loader: x.py\n", "sample_loader", "x.py", "field_map"),
        (IMAGES.replace("image: mp4", "image: [mp4]"), "field_map", "['mp4']", "image: mp4"),
        ("field_map:\n  image: mp4\n", "sample_type", "missing", "ImageSample"),
        ("sample_type: ImageSample\nfield_map: {image: mp4}\n", "sample_type", "ImageSample", "a mapping"),
    ],
)
def test_what_could_run_code_is_refused_by_name(tmp_path: Path, text: str, key: str, value: str, valid: str) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, text)
    assert error.value.key == key
    assert str(error.value.file).endswith("dataset.yaml")
    assert value in error.value.problem
    assert valid in error.value.wanted


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system ['touch ran']\n", "- a\n", "a: [\n", "1: 2\n", ""])
def test_nothing_is_run_by_reading(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="cannot be read|not a mapping"):
        read(tmp_path, text)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: .*No such file.*dataset\.yaml"):
        read_dataset_yaml(tmp_path / "dataset.yaml")
