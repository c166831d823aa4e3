"""Loaders of a lidar tokenizer: synthetic drives, sizes from the sensor, and crops that do not fit it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("nemo")

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidar_tokenizer.data import debug_sensor, image_size, make_data, synthetic_shards
from cosmos_lidar.files import file_sha256
from cosmos_lidar.recipes import lidar_tokenizer
from cosmos_lidar.shards.manifest import read_manifest
from cosmos_lidar.training.config import AnyConfig
from cosmos_lidar.training.engine import DataShare
from cosmos_lidar.training.overrides import apply_overrides

SHARE = DataShare(rank=0, world=1, seed=7)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_shards(tmp_path_factory.mktemp("data") / "shards", 2, 5)


def debug(shards: Path, *options: str) -> AnyConfig:
    return apply_overrides(lidar_tokenizer.debug(), [f"data.path={shards}", "data.workers=0", *options])


def test_synthetic_drives_are_a_function_of_the_seed(shards: Path, tmp_path: Path) -> None:
    manifest = read_manifest(shards)
    assert {split: len(clips) for split, clips in manifest.splits.items()} == {"train": 1, "val": 1}
    assert (sum(shard.frames for shard in manifest.shards), manifest.frames_per_sample) == (20, 2)
    digests = {shard.name: shard.sha256 for shard in manifest.shards}
    again = synthetic_shards(tmp_path / "again", 2, 5)
    assert {path.name: file_sha256(path) for path in again.glob("*.tar")} == digests
    assert not set(digests.values()) & {
        shard.sha256 for shard in read_manifest(synthetic_shards(tmp_path / "b", 2, 8)).shards
    }


def test_training_crops_and_validation_takes_whole_maps(shards: Path, tmp_path: Path) -> None:
    sensor = debug_sensor()
    rows, columns = sensor.rows * sensor.format.repeat_rows, sensor.columns // sensor.format.pair_columns
    data = make_data(
        debug(shards, "data.crop_columns=64", "data.batch_size=3", "data.val_batch_size=2"), tmp_path, SHARE
    )
    assert data.size == (rows, 64)
    assert next(iter(data.train)).images.shape == (3, 3, rows, 64)
    assert next(iter(data.val)).images.shape == (2, 3, rows, columns)
    whole = make_data(debug(shards, "data.crop_columns=0"), tmp_path, SHARE)
    assert whole.size == (rows, columns)


def test_sequences_are_in_the_order_of_time(shards: Path, tmp_path: Path) -> None:
    run = debug(shards, "data.sequence=2", "data.crop_columns=64", "data.batch_size=1")
    batch = next(iter(make_data(run, tmp_path, SHARE).train))
    assert batch.images.shape[:3] == (1, 3, 2)


@pytest.mark.parametrize("columns", [60, 4096])
def test_a_crop_that_does_not_fit_names_what_does(shards: Path, tmp_path: Path, columns: int) -> None:
    with pytest.raises(UserError, match=rf"data.crop_columns={columns}: expected a multiple of 8 up to \d+.*0 takes"):
        make_data(debug(shards, f"data.crop_columns={columns}"), tmp_path, SHARE)


def test_image_sizes_without_the_data(shards: Path, tmp_path: Path) -> None:
    sensor = debug_sensor()
    wanted = (sensor.rows * sensor.format.repeat_rows, sensor.columns // sensor.format.pair_columns)
    assert image_size(debug(shards)) == wanted
    assert image_size(lidar_tokenizer.debug()) == wanted  # of its synthetic drives
    elsewhere = image_size(debug(tmp_path / "absent"))
    assert elsewhere == image_size(apply_overrides(lidar_tokenizer.debug(), ["synthetic_drives=0"]))
    assert elsewhere != wanted
