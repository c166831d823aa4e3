"""Names in the published folder, and lengths and rates of its videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.clips.multiview_folder import clip_id_of, find_multiview_folder, is_published, video_facts
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_multiview import CLIPS, write_sample
from tests.shards.cameras import NAMES, image_of


def test_paths_of_a_clip(tmp_path: Path):
    folder = find_multiview_folder(write_sample(tmp_path))
    assert folder.cameras == NAMES
    assert folder.clips == CLIPS
    assert is_published(folder)
    assert folder.video("a", "b") == tmp_path / "videos" / "a" / "b.mp4"
    assert folder.caption("a", "b") == tmp_path / "metas" / "a" / "b.txt"
    assert folder.embedding("a", "b.c") == tmp_path / "t5_xxl" / "a" / "b.c"
    assert [path.name for path in folder.prefixes("a")] == ["prefix_t5_embeddings_a", "prefix_a"]
    assert folder.facts(CLIPS[0]) == (6, 10.0)
    assert clip_id_of("a.b c") == "a_b_c"


def test_other_cameras_follow_by_name(tmp_path: Path):
    folder = find_multiview_folder(write_sample(tmp_path, names=("z", "pinhole_front", "a", "pinhole_side_left")))
    assert folder.cameras == ("pinhole_side_left", "pinhole_front", "a", "z")


@pytest.mark.parametrize("rate", [10.0, 30000 / 1001])
def test_lengths_and_rates(tmp_path: Path, rate: float):
    write_mp4(tmp_path / "x.mp4", [image_of(0, frame) for frame in range(9)], rate)
    frames, fps = video_facts(tmp_path / "x.mp4")
    assert frames == 9
    assert fps == pytest.approx(rate, rel=1e-3)


def test_a_container_without_counts_is_counted(tmp_path: Path):
    import av

    with av.open(str(tmp_path / "x.mkv"), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image_of(0, frame), format="rgb24")))
        container.mux(stream.encode())
    frames, fps = video_facts(tmp_path / "x.mkv")
    assert (frames, round(fps, 3)) == (5, 10.0)


def test_what_is_no_video(tmp_path: Path):
    (tmp_path / "x.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"not a readable video.*x\.mp4"):
        video_facts(tmp_path / "x.mp4")
    assert find_multiview_folder(tmp_path) is None
