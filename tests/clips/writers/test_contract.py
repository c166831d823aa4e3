"""What every writer owes: complete clips or none, no value lost silently, the same bytes, one frame at a time."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.convert import convert_clips, find_writers, frames_of
from cosmos_lidar.clips.sweep import RETURN_VALUES
from cosmos_lidar.clips.writers._contract import VALUES, Losses, WriteOptions
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import _installed

WRITERS = find_writers()
OPTIONS = WriteOptions(caption="A street.")


@pytest.fixture(params=sorted(WRITERS))
def writer(request: pytest.FixtureRequest):
    """A writer; skipped where its extra is not installed."""
    module = WRITERS[request.param]
    missing = [name for name in getattr(module, "NEEDS", ()) if not _installed(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    return module


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write(writer, clip: Clip, folder: Path) -> tuple:
    seen: list[int] = []
    if hasattr(writer, "begin"):
        writer.begin([clip], folder)
    return writer.write_clip(clip, folder, OPTIONS, seen.append), sum(seen)


def test_it_names_itself_and_what_it_holds(writer) -> None:
    assert writer.DESCRIPTION
    assert "\n" not in writer.DESCRIPTION
    assert writer.HOLDS <= VALUES.keys()


def test_the_files_are_there_and_progress_counts_frames(writer, drive, tmp_path) -> None:
    written, seen = write(writer, drive, tmp_path)
    assert written.frames == 3
    assert seen == getattr(writer, "frames", frames_of)(drive)
    assert written.files
    assert set(written.files) <= set(digests(tmp_path))


def test_what_the_layout_lacks_is_named(writer, two_lidars, tmp_path) -> None:
    written, _ = write(writer, two_lidars, tmp_path)
    owed = Losses(two_lidars, writer.HOLDS)
    for index in range(len(two_lidars)):
        owed.see(replace(two_lidars.lidar.read(index), ring=None))
    assert owed.found.keys() <= written.lost.keys()
    assert written.lost.keys() <= VALUES.keys()


def test_the_same_clip_gives_the_same_bytes(writer, drive, tmp_path) -> None:
    for name in ("one", "two"):
        write(writer, drive, tmp_path / name)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_clip_is_written_again_over_itself(writer, drive, tmp_path) -> None:
    write(writer, drive, tmp_path)
    before = digests(tmp_path)
    write(writer, drive, tmp_path)
    assert digests(tmp_path) == before


def test_clips_are_written_in_parallel_and_resumed(writer, drive, tmp_path) -> None:
    def broken(index: int):
        raise DataError("torn")

    name = writer.__name__.rpartition(".")[2]
    good, other = replace(drive, clip_id="one"), replace(drive, clip_id="two")
    torn = {key: replace(camera, read=broken) for key, camera in drive.cameras.items()}
    bad = replace(other.with_lidar(read=broken), cameras=torn)
    first = convert_clips([good, bad], tmp_path, name, workers=2)
    assert (list(first.written), first.errors) == (["one"], {"two": "torn"})
    second = convert_clips([good, other], tmp_path, name, workers=2, resume=True)
    assert (list(second.written), list(second.skipped), second.errors) == (["one", "two"], ["one"], {})
    alone = convert_clips([good, other], tmp_path / "alone", name)
    assert {one.clip: one.files for one in second.written.values()} == {
        one.clip: one.files for one in alone.written.values()
    }
    assert convert_clips([good, other], tmp_path, name).skipped == ("one", "two")


@pytest.mark.parametrize(
    "error", [DataError("broken"), KeyboardInterrupt(), MemoryError()], ids=lambda one: type(one).__name__
)
def test_a_clip_that_breaks_leaves_nothing(writer, drive, tmp_path, error) -> None:
    write(writer, replace(drive, clip_id="whole"), tmp_path)
    before = digests(tmp_path)

    def read(index: int):
        if index == 2:
            raise error
        return drive.lidar.read(index)

    def image(index: int):
        if index == 2:
            raise error
        return drive.cameras["camera_left"].read(index)

    broken = drive.with_lidar(read=read)
    broken = replace(
        broken, cameras={**drive.cameras, "camera_left": replace(drive.cameras["camera_left"], read=image)}
    )
    with pytest.raises(type(error)):
        write(writer, broken, tmp_path)
    assert digests(tmp_path) == before


def test_progress_may_end_the_work(writer, drive, tmp_path) -> None:
    def stop(count: int) -> None:
        raise InterruptedError("enough")

    with pytest.raises((InterruptedError, DataError)):
        writer.write_clip(drive, tmp_path, OPTIONS, stop)
    assert [name for name in digests(tmp_path) if not name.endswith("sensor.yaml")] == []


def test_values_that_are_not_known_are_refused() -> None:
    clip = Clip("a", Path(), "none")
    with pytest.raises(ValueError, match="HOLDS names colors"):
        Losses(clip, frozenset(("colors",)))
    with pytest.raises(ValueError, match="no value colors"):
        Losses(clip, frozenset()).add("colors", "all")


def test_every_value_of_sweeps_has_a_name(drive) -> None:
    sweep, layout = drive.lidar.read(0), Losses(drive, frozenset())
    values = {name: np.zeros(sweep.range_m.shape, dtype) for name, dtype in RETURN_VALUES.items()}
    layout.see(replace(sweep, second_return=sweep, **values))
    assert {*RETURN_VALUES, "returns", "range_image"} <= layout.found.keys()


def test_losses_of_a_clip_without_values() -> None:
    assert Losses(Clip("a", Path(), "none"), frozenset()).found == {}


def test_losses_name_what_sweeps_have(compensated) -> None:
    losses = Losses(compensated, frozenset(("points", "intensity")))
    assert "reference" in losses.found
    assert losses.see(compensated.lidar.read(0)).points is not None
    assert {"labels", "instance", "time_us", "ring", "returns"} <= losses.found.keys()
    assert not {"points", "intensity", "range_image"} & losses.found.keys()
    assert np.all([text for text in losses.found.values()])
