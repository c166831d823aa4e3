from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers.waymo.frames import read_frames
from cosmos_lidar.errors import DataError
from tests.clips.readers.waymo_records import SEGMENT, matrix, record_drive, write_tfrecord


@pytest.fixture
def path(tmp_path):
    return write_tfrecord(tmp_path / "segment-a.tfrecord", record_drive())


def overwrite(path, span, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(span[0])
        file.write(content[: span[1] - span[0]])


@pytest.mark.parametrize("what", ["image", "poses", "segmentation"])
def test_a_damaged_matrix_is_refused_when_it_is_read(path, what):
    spans = getattr(read_frames(path)[2].lasers[1][0], what)
    (clip,) = open_clips(path)
    overwrite(path, (spans[1] - 30, spans[1]), bytes(30))
    clip.lidar.read(1)
    with pytest.raises(DataError, match="zlib") as caught:
        clip.lidar.read(2)
    assert (caught.value.file, caught.value.clip) == (path, SEGMENT)
    assert caught.value.key.startswith("record 2, TOP")


def test_a_range_image_of_another_shape_than_the_first(tmp_path):
    recording = record_drive()
    last = recording.frames[2]
    laser = replace(last.lasers[1], images=[last.lasers[1].images[0][:, :90], last.lasers[1].images[1]])
    frames = [*recording.frames[:2], replace(last, lasers={**last.lasers, 1: laser})]
    (clip,) = open_clips(write_tfrecord(tmp_path / "segment-a.tfrecord", recording, frames))
    with pytest.raises(DataError, match=r"shape \(16, 90, 4\)"):
        clip.lidar.read(2)
    images = [image[..., :3] for image in recording.frames[0].lasers[1].images]
    laser = replace(recording.frames[0].lasers[1], images=images)
    first = replace(recording.frames[0], lasers={1: laser})
    with pytest.raises(DataError, match=r"range image of shape \(16, 180, 3\).*Expected: \(16, columns, 4\)"):
        open_clips(write_tfrecord(tmp_path / "segment-b.tfrecord", recording, [first]))


def test_a_damaged_image(path):
    spans = read_frames(path)[1].shots[3].jpeg
    (clip,) = open_clips(path)
    overwrite(path, spans, bytes(4096))
    with pytest.raises(DataError, match="not a readable image") as caught:
        clip.cameras["FRONT_RIGHT"].read(1)
    assert caught.value.key == "record 1, image of FRONT_RIGHT"


def test_a_file_that_became_shorter(path):
    (clip,) = open_clips(path)
    path.write_bytes(path.read_bytes()[:1000])
    for read in (clip.lidar.read, clip.cameras["FRONT"].read):
        with pytest.raises(DataError, match="0 of .* bytes"):
            read(2)


def test_pixel_poses_are_unpacked_as_far_as_the_first_row(path):
    """A damaged end of the pixel poses shows when the sweep is read, not when the file is opened."""
    spans = read_frames(path)[0].lasers[1][0].poses
    overwrite(path, (spans[1] - 8, spans[1]), bytes(8))
    (clip,) = open_clips(path)
    assert np.isfinite(clip.world_SE3_lidar).all()
    with pytest.raises(DataError, match="range_image_pose"):
        clip.lidar.read(0)


def test_projections_that_are_not_there(tmp_path):
    recording = record_drive()
    (clip,) = open_clips(write_tfrecord(tmp_path / "segment-a.tfrecord", recording))
    first = clip.lidar.read.returns[0][0]
    bare = replace(clip.lidar.read, returns=((first._replace(projection=None), None),) * 3)
    assert bare.camera_projections(0) is None
    assert bare.camera_projections(0, second=True) is None
    assert len(matrix(recording.frames[0].lasers[1].projections[0])) == first.projection[1] - first.projection[0]
