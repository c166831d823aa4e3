from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.shards.check import check_shards
from cosmos_lidar.shards.manifest import index_with_energon, read_manifest, write_manifest
from tests.shards.damaged import SHARD, shards

__all__ = ["shards"]  # the fixture


def problems(folder: Path) -> list[str]:
    return [f"{p.problem} | {p.shard} | {p.clip} | {p.key}" for p in check_shards(folder).problems]


def one(folder: Path, *words: str) -> None:
    """Some line holds all the words."""
    lines = problems(folder)
    assert any(all(word in line for word in words) for line in lines), lines


def first_clip(folder: Path) -> str:
    return next(iter(read_manifest(folder).shards[0].clips))


def rewrite(folder: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], honest: bool = False) -> None:
    """Change the members of the first shard; ``honest`` renews its size and sha256 in the manifest and the index."""
    path = folder / SHARD
    with tarfile.open(path) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    with tarfile.open(path, "w") as tar:
        for name, data in change(members).items():
            info = tarfile.TarInfo(name.split("|")[0])
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    if honest:
        import hashlib

        manifest = read_manifest(folder)
        data = path.read_bytes()
        manifest.shards[0] = replace(manifest.shards[0], bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        write_manifest(folder, manifest)
        index_with_energon(folder, [shard.name for shard in manifest.shards])


def test_nothing_wrong(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = check_shards(shards)
    assert (result.shards, result.samples, result.frames, result.problems) == (3, 6, 60, [])
    assert main(["check", str(shards)]) == 0
    assert "60 frames" in capsys.readouterr().out


def test_every_flipped_byte_of_a_shard_is_noticed(shards: Path) -> None:
    data = (shards / SHARD).read_bytes()
    for position in range(0, len(data), len(data) // 12):
        broken = bytearray(data)
        broken[position] ^= 0x40
        (shards / SHARD).write_bytes(bytes(broken))
        one(shards, "sha256 differs", SHARD)


def test_damaged_part_names_shard_clip_and_key(shards: Path) -> None:
    clip = first_clip(shards)

    def damage(members: dict[str, bytes]) -> dict[str, bytes]:
        name = f"{clip}_000010.ranges.bin"
        return {**members, name: members[name][:-9] + b"X" + members[name][-8:]}

    rewrite(shards, damage, honest=True)
    assert len(problems(shards)) == 1
    one(shards, "sha256 differs from the one in meta.json", SHARD, clip, f"{clip}_000010.ranges.bin")


def test_part_that_does_not_decode_although_its_checksum_fits(shards: Path) -> None:
    import hashlib

    clip = first_clip(shards)

    def damage(members: dict[str, bytes]) -> dict[str, bytes]:
        name, meta = f"{clip}_000000.ranges.bin", f"{clip}_000000.meta.json"
        broken = members[name][:200] + b"?" + members[name][201:]
        document = json.loads(members[meta])
        document["checksums"]["ranges.bin"] = hashlib.sha256(broken).hexdigest()
        return {**members, name: broken, meta: json.dumps(document).encode()}

    rewrite(shards, damage, honest=True)
    one(shards, "fails its checksum", SHARD, clip, f"{clip}_000000.ranges.bin")


@pytest.mark.parametrize("part", ["ranges.bin", "intensity.bin", "meta.json"])
def test_missing_part(shards: Path, part: str) -> None:
    clip = first_clip(shards)
    rewrite(shards, lambda members: {k: v for k, v in members.items() if k != f"{clip}_000000.{part}"}, honest=True)
    one(shards, "part missing", SHARD, f"{clip}_000000.{part}")


def test_meta_that_is_none(shards: Path) -> None:
    name = f"{first_clip(shards)}_000000.meta.json"
    rewrite(shards, lambda members: {**members, name: b'{"version": 1}'}, honest=True)
    one(shards, "not the description of a sample", SHARD, name)
    rewrite(shards, lambda members: {**members, name: b"\xff\xfe"}, honest=True)
    one(shards, "not the description of a sample", SHARD, name)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.97])
def test_truncated_tar(shards: Path, share: float) -> None:
    data = (shards / SHARD).read_bytes()
    (shards / SHARD).write_bytes(data[: int(len(data) * share)])
    one(shards, f"bytes instead of {len(data)}", SHARD)
    if share < 0.9:  # beyond, only the padding at the end of the tar is lost
        one(shards, "samples instead of 2", SHARD)
        one(shards, "frames instead of 20", SHARD, first_clip(shards))


def test_missing_and_foreign_shards(shards: Path) -> None:
    (shards / SHARD).rename(shards / "train-000077.tar")
    one(shards, "shard missing", SHARD)
    one(shards, "not in the manifest", "train-000077.tar")


def test_clip_in_two_splits(shards: Path) -> None:
    clip = first_clip(shards)
    val = (shards / "val-000000.tar").read_bytes()

    def leak(members: dict[str, bytes]) -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(val)) as tar:
            theirs = {member.name: tar.extractfile(member).read() for member in tar}
        return {**members, **{name: data for name, data in theirs.items() if "_000000" in name}}

    rewrite(shards, leak)
    leaked = next(iter(read_manifest(shards).of_split("val")[0].clips))
    one(shards, "splits train and val", leaked)
    one(shards, "the key occurs 2 times", f"{leaked}_000000")
    one(shards, "10 frames instead of 0", SHARD, leaked)
    one(shards, "Energon's index has 2 samples, the tar 3", SHARD)
    assert clip != leaked


def test_parts_that_are_not_neighbours(shards: Path) -> None:
    """Energon takes the second half of a divided sample for a sample of its own."""
    rewrite(shards, lambda members: dict(sorted(members.items(), key=lambda item: item[0].split(".", 1)[1])))
    one(shards, "the key occurs", SHARD)
    one(shards, "part missing", SHARD)


def test_index_that_points_elsewhere(shards: Path) -> None:
    with sqlite3.connect(shards / ".nv-meta" / "index.sqlite") as base:
        base.execute("UPDATE sample_parts SET content_byte_offset = content_byte_offset + 1 WHERE tar_file_id = 0")
    one(shards, "Energon's index has this sample elsewhere", SHARD)
    (shards / f"{SHARD}.idx").write_bytes(bytes(8))
    one(shards, f"{SHARD}.idx does not fit", SHARD)
    (shards / f"{SHARD}.idx").unlink()
    one(shards, "cannot be read", SHARD)
    (shards / ".nv-meta" / "index.sqlite").write_bytes(b"no database, but long enough to be read as one" * 50)
    one(shards, "the Energon index cannot be read")
    (shards / ".nv-meta" / "split.yaml").unlink()
    one(shards, "the Energon index cannot be read")


def test_missing_sensor_file(shards: Path) -> None:
    (shards / read_manifest(shards).sensors[0]).unlink()
    one(shards, "sensor file sensors/uniform.yaml missing")


def test_a_folder_that_names_python_code_is_a_problem(shards: Path) -> None:
    path = shards / ".nv-meta" / "dataset.yaml"
    path.write_text(path.read_text() + "  x: {__module__: os, __function__: system, command: touch ran}\n")
    one(shards, "subflavors.x", "dataset.yaml", "files that name Python code are not opened")


@pytest.mark.parametrize("type", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_members_that_are_no_files_are_a_problem(shards: Path, type: bytes) -> None:
    with tarfile.open(shards / SHARD, "a") as tar:
        member = tarfile.TarInfo("other.meta.json")
        member.type, member.linkname = type, "/etc/passwd"
        tar.addfile(member)
    one(shards, "no plain files: 'other.meta.json'", SHARD)


def test_an_index_that_counts_without_end_is_refused(shards: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n)"
    with sqlite3.connect(shards / ".nv-meta" / "index.sqlite") as base:
        base.execute("DROP TABLE sample_parts")
        columns = "x tar_file_id, x sample_index, 'a' part_name, x content_byte_offset, x content_byte_size"
        base.execute(f"CREATE VIEW sample_parts AS {endless} SELECT {columns} FROM n")
    one(shards, "index.sqlite has no tables of samples and parts")
