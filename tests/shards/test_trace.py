from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.trace import Tracer
from tests.shards.damaged import SHARD, shards

__all__ = ["shards"]  # the fixture


def members(folder: Path) -> dict[str, tuple[str, int, int, int, bytes]]:
    """Return member -> (shard, offset of its header, offset and size of its content, content), by Python's tarfile."""
    found = {}
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as tar:
            for one in tar:
                found[one.name] = (path.name, one.offset, one.offset_data, one.size, tar.extractfile(one).read())
    return found


def test_every_sample_traces_to_the_bytes_of_its_parts(shards: Path) -> None:
    tracer, known = Tracer(shards), members(shards)
    keys = sorted({name.partition(".")[0] for name in known})
    assert len(keys) == 6
    for key in keys:
        (one,) = tracer.trace(key)
        meta = json.loads(known[f"{key}.meta.json"][4])
        assert (one.folder, one.key, one.shard) == (str(shards), key, known[f"{key}.meta.json"][0])
        assert one.splits == (one.shard.partition("-")[0],)
        assert one.start == min(known[f"{key}.{part}"][1] for part in one.parts)
        assert one.parts == {part: known[f"{key}.{part}"][2:4] for part in one.parts}
        for part, (offset, size) in one.parts.items():
            assert (shards / one.shard).read_bytes()[offset : offset + size] == known[f"{key}.{part}"][4]
        assert (one.clip, list(one.frame_ids)) == (meta["clip_id"], meta["frame_ids"])
        assert list(one.frame_numbers) == meta["frame_numbers"]
        assert [list(times) for times in one.timestamps_us] == meta["timestamps_us"]
        assert one.frame(meta["frame_ids"][3]) == 3


def test_unknown_keys_frames_and_folders_without_index_are_refused(shards: Path, tmp_path: Path) -> None:
    tracer = Tracer(shards)
    key = next(place.key for places in tracer.index.samples.values() for place in places)
    with pytest.raises(DataError, match=f"no sample of this key.*key {key}x.*6 samples; the nearest is {key}"):
        tracer.trace(f"{key}x")
    with pytest.raises(DataError, match="no sample of this key.*val-999999.tar"):
        tracer.trace(key, "val-999999.tar")
    with pytest.raises(DataError, match="no frame '999999'.*one of 000000"):
        tracer.trace(key)[0].frame("999999")
    with pytest.raises(DataError, match="the Energon index cannot be read"):
        Tracer(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"frame_ids": 3}', b'{"timestamps_us": [[1]]}'])
def test_damaged_descriptions_are_refused(shards: Path, content: bytes) -> None:
    tracer = Tracer(shards)
    place = tracer.index.samples[SHARD][0]
    start, size = place.parts["meta.json"]
    with (shards / SHARD).open("r+b") as file:
        file.seek(start)
        file.write(content.ljust(size))
    with pytest.raises(DataError, match=f"cannot be read.*{SHARD}, key {place.key}.meta.json"):
        tracer.trace(place.key)
    (shards / SHARD).unlink()
    with pytest.raises(DataError, match="No such file"):
        tracer.trace(place.key)


def test_the_command_shows_a_trace(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Tracer(shards).index.samples[SHARD][1]
    assert main(["check", str(shards), "--trace", place.key]) == 0
    shown = capsys.readouterr().out
    assert f"  dataset {shards}, split train\n  shard   {SHARD}, bytes {place.start} to {place.stop}\n" in shown
    start, size = place.parts["ranges.bin"]
    assert f"  part    ranges.bin: {size} bytes at {start}\n" in shown
    assert main(["check", str(shards), "--trace", place.key, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["samples"]
    assert (one["shard"], one["start"], one["stop"]) == (SHARD, place.start, place.stop)
    assert len(one["frame_ids"]) == len(one["frame_numbers"]) > 1
    assert main(["check", str(shards), "--trace", "nothing"]) == 2
    assert "no sample of this key" in capsys.readouterr().err
