from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("flatbuffers")

from cosmos_lidar.clips.readers.ouster.osf import index_osf
from cosmos_lidar.errors import DataError
from tests.clips.readers.ouster.recordings import COLUMN_NS, COLUMNS, FRAMES, fields, png, times_ns, write_osf, zpng

PROFILE = "RNG15_RFL8_NIR8"


def test_the_index_has_the_scans(tmp_path):
    (frames,) = pickle.loads(pickle.dumps(index_osf(write_osf(tmp_path / "a.osf"))))
    assert [span.number for span in frames.spans] == [700, 701, 702]
    assert (frames.spans[1].start_ns, frames.spans[1].end_ns) == (times_ns(1)[0], times_ns(1)[-1] + COLUMN_NS)
    assert frames.spans[0].columns == COLUMNS
    for index in range(FRAMES):
        frame = frames(index)
        assert np.array_equal(frame.times_ns, times_ns(index))
        assert all(np.array_equal(frame.fields[name], image) for name, image in fields(PROFILE, index).items())


@pytest.mark.parametrize("pack", [zpng, png])
def test_truncated_files_are_refused(pack, tmp_path):
    path = write_osf(tmp_path / "a.osf", pack)
    content = path.read_bytes()
    for length in (0, 3, 20, 60, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"a\.osf"):
            index_osf(path)


def test_every_damage_is_read_or_refused(tmp_path):
    path = write_osf(tmp_path / "a.osf", frames=1)
    content, generator = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        changed = bytearray(content)
        for at in generator.integers(0, len(content), 3):
            changed[at] = generator.integers(0, 256)
        path.write_bytes(changed)
        try:
            for frames in index_osf(path):
                frames(0)
        except DataError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (b"OSF$", b"OSF%", "key magic"),
        (b"LidarSensor", b"RadarSensor", "no scan of a lidar"),
        (b"LidarScanStream", b"RadarScanStream", "no scan of a lidar"),
        (b"beam_altitude_angles", b"beam_altitude_tables", "key beam_altitude_angles"),
    ],
)
def test_other_contents_are_refused(before, after, problem, tmp_path):
    path = write_osf(tmp_path / "a.osf")
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after))
    with pytest.raises(DataError, match=problem):
        index_osf(path)


def test_a_file_that_was_not_finished_is_refused(tmp_path):
    path = write_osf(tmp_path / "a.osf")
    content = path.read_bytes()
    for at in range(60):
        changed = bytearray(content)
        if changed[at] == 2:
            changed[at] = 1
            path.write_bytes(changed)
            try:
                index_osf(path)
            except DataError as error:
                if "was not finished" in str(error):
                    return
    raise AssertionError("no byte of the header is the status")
