"""What range images of several folders have in common, with a manifest and without one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.facts import agree, first_sample, read_sweep_facts
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards
from cosmos_lidar.shards.sources import resolve
from tests.shards.conftest import SENSOR, tiny_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip of 9 frames, in samples of 4 or 5."""
    out = tmp_path_factory.mktemp("facts") / "a"
    prepare_shards([tiny_clip("a", 9)], out, PrepareOptions(split=(1,), frames_per_sample=5))
    return out


def without_manifest(folder: Path, to: Path, *left_out: str) -> Path:
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("manifest.json", "*.jsonl", *left_out))
    return to


def test_facts_of_a_manifest(folder: Path) -> None:
    facts = read_sweep_facts(resolve(folder, "train"))
    assert (facts.rows, facts.columns, facts.frames_per_sample) == (8, 32, 5)
    assert facts.format == SENSOR.format
    assert facts.sensor.fingerprint() == SENSOR.fingerprint()
    assert (facts.height, facts.merged_columns) == (8 * 4, 16)


def test_facts_of_the_first_shard(folder: Path, tmp_path: Path) -> None:
    plain = without_manifest(folder, tmp_path / "plain")
    assert read_sweep_facts(resolve(plain, "train")).sensor.fingerprint() == SENSOR.fingerprint()
    both = read_sweep_facts(resolve(f"{folder},{plain}", "train"))
    assert (both.rows, both.columns, both.frames_per_sample) == (8, 32, 5)
    bare = without_manifest(folder, tmp_path / "bare", "sensors")
    with pytest.raises(UserError, match=r"bare/sensors/.*\.yaml: no such sensor file"):
        read_sweep_facts(resolve(bare, "train"))
    asked = replace(SENSOR.format, repeat_rows=2)
    facts = read_sweep_facts(resolve(bare, "train"), asked)
    assert (facts.sensor, facts.height) == (None, 16)
    assert read_sweep_facts(resolve(f"{bare},{folder}", "train")).format == SENSOR.format


def test_shards_are_there_in_full_length(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "cut")
    shard = tmp_path / "cut" / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(DataError, match=r"as in manifest\.json: copy the folder again"):
        read_sweep_facts(resolve(tmp_path / "cut", "train"))


def test_the_first_sample(folder: Path, tmp_path: Path) -> None:
    (part,) = resolve(folder, "train").parts
    parts = first_sample(part)
    assert {"ranges.bin", "meta.json"} <= set(parts)
    assert b'"frame_ids":["000000"' in parts["meta.json"]
    broken = without_manifest(folder, tmp_path / "broken")
    (broken / "train-000000.tar").write_bytes(b"\x07" * 4096)
    with pytest.raises(DataError, match="cannot be read"):
        first_sample(resolve(broken, "train").parts[0])


def test_a_difference_names_both_folders_key_and_values() -> None:
    agree([(Path("a"), {"x": 1}), (Path("b"), {"y": 2}), (Path("c"), {"x": 1, "y": 2})], "things")
    with pytest.raises(UserError, match="things differ in y: 2 in b, 3 in c"):
        agree([(Path("a"), {"x": 1}), (Path("b"), {"y": 2}), (Path("c"), {"y": 3})], "things")
