"""Every real recording is read, shown, converted to shards, read back, and trained on.

``RECORDINGS`` and ``NO_LIDAR_RECORDINGS`` name all folders of the test data: a new one fails until it is in one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.range_codec import decode_intensities, decode_labels
from cosmos_lidar.clips.sweep import sweep_problems
from cosmos_lidar.clips.tar_index import TarIndex
from cosmos_lidar.shards.clips import open_shards
from cosmos_lidar.shards.manifest import read_manifest
from cosmos_lidar.shards.sweeps import INTENSITY, LABELS, META, read_meta

pytest.importorskip("megatron.energon")

MIX = """# validation on the only drive there is: it shows that validation runs, nothing more
__module__: megatron.energon
__class__: MetadatasetV2
splits:
  train: {path: shards}
  val: {path: shards, split_part: train}
"""


@dataclass(frozen=True)
class Real:
    """A recording of the test data.

    Attributes:
        path: below the test data.
        format: the reader that is expected to recognize it.
        sweeps: of all clips.
        lidar: the one that is converted; empty for the main one.
        cameras: of the first clip.
    """

    path: str
    format: str
    sweeps: int
    lidar: str = ""
    cameras: int = 0


RECORDINGS = {
    "av2": Real("av2", "av2", 2),
    "av2-down_lidar": Real("av2", "av2", 2, "down_lidar"),
    "ddad_dgp": Real("ddad_dgp/scene_02", "ddad", 3, cameras=6),
    "kitti_object": Real("kitti_object", "kitti", 2, cameras=1),
    "kitti_velodyne": Real("kitti_velodyne", "kitti", 5),
    "nuscenes": Real("nuscenes", "nuscenes", 1, cameras=6),
    "ouster-pcap": Real("ouster/OS-1-128_v2.3.0_1024x10_lb_n3.pcap", "ouster", 3),
    "ouster-osf": Real("ouster/OS-1-128_v2.3.0_1024x10_lb_n3.osf", "ouster", 3),
    "semantickitti": Real("semantickitti", "semantickitti", 1),
}
NO_LIDAR_RECORDINGS = {
    "cosmos_predict1_multiview": "views of a camera rig in one video: tests of videos read it",
    "draco": "clouds of objects: tests of point formats read them",
    "las": "airborne and test clouds in coordinates of a map, hundreds of meters below the sensor",
    "nuscenes_drivelm": "images without tables, lidar and calibration",
    "pcd": "clouds of points of objects, and broken files: tests of point formats read them",
    "rosbag2": "bags without messages of sensors: tests of bags refuse them by name",
    "sensor_models": "models of lidars: tests of sensors read them",
    "video": "a dash camera: tests of videos read it",
    "waymo": "a record of cameras alone, and components without a lidar: below, and in tests of their readers",
}


@pytest.fixture(params=RECORDINGS)
def real(request, test_data: Path) -> Real:
    return RECORDINGS[request.param]


def opened(real: Real, test_data: Path) -> list[Clip]:
    clips = open_clips(test_data / real.path, lidar=real.lidar or None)
    assert {clip.format for clip in clips} == {real.format}
    return clips


def prepare(real: Real, test_data: Path, out: Path) -> Path:
    lidar = ["--lidar", real.lidar] if real.lidar else []
    command = ["prepare", str(test_data / real.path), str(out), "--split", "1,0,0", "--frames-per-sample", "2", *lidar]
    assert main(command) == 0
    assert main(["check", str(out)]) == 0
    return out


def test_every_folder_is_in_a_table(test_data):
    folders = {path.name for path in test_data.iterdir() if path.is_dir()}
    assert {real.path.split("/")[0] for real in RECORDINGS.values()} | set(NO_LIDAR_RECORDINGS) == folders


def test_read(real, test_data):
    clips = opened(real, test_data)
    assert sum(len(clip) for clip in clips) == real.sweeps
    for clip in clips:
        assert len(clip.cameras) == real.cameras
        assert not [one for one in check_clip(clip, checks=("sweeps", "images", "files")).problems]
        for lidar in clip.lidars.values():
            for index in range(len(lidar)):
                assert sweep_problems(lidar.read(index), lidar.sensor) == []
                assert lidar.range_map(index).any()


def test_view(real, test_data, tmp_path):
    page = tmp_path / "page.html"
    command = ["view", str(test_data / real.path), "--html", str(page), "--frames", "2", "--points", "3000"]
    assert main([*command, "--image-width", "320"]) == 0
    text = page.read_text(encoding="utf-8")
    clip = opened(real, test_data)[0]
    assert clip.clip_id in text
    assert all(name in text for name in (*clip.lidars, *clip.cameras))
    assert 'problems": ["' not in text


def test_shards_hold_what_was_recorded(real, test_data, tmp_path):
    """Ranges to half a storage step, intensities to half of one of their steps, classes, times and poses exactly."""
    out = prepare(real, test_data, tmp_path / "shards")
    recorded = {clip.clip_id: clip for clip in opened(real, test_data)}
    stored = {clip.clip_id: clip for clip in open_shards(out)}
    assert stored.keys() == recorded.keys()
    for clip_id, clip in recorded.items():
        copy = stored[clip_id]
        assert copy.sensor.fingerprint() == clip.sensor.fingerprint()
        assert copy.frame_ids == clip.frame_ids
        assert np.array_equal(copy.timestamps_us, clip.timestamps_us)
        assert (copy.world_SE3_lidar is None) == (clip.world_SE3_lidar is None)
        if clip.world_SE3_lidar is not None:
            assert np.array_equal(copy.world_SE3_lidar, clip.world_SE3_lidar)
        for index in range(len(clip)):
            sent, found = clip.range_map(index), copy.range_map(index)
            sent = np.where(sent > clip.sensor.max_range_m, 0, sent)
            assert np.array_equal(found > 0, sent > 0)
            near = (sent > 0) & (sent < clip.sensor.range_step_m / 2)  # a return within the lidar stays one
            assert (found[near] == np.float32(clip.sensor.range_step_m)).all()
            far = np.abs(found - sent)[~near].max()
            assert far <= clip.sensor.range_step_m / 2 + 2 * np.spacing(np.float32(clip.sensor.max_range_m))
    for clip_id, frame, values in layers(out):
        expected = pixels(recorded[clip_id], frame)
        for name, found in values.items():
            tolerance = 0.0 if name == "labels" else float(expected[name].max()) / 255 / 2 + 1e-6
            assert np.abs(found.astype(float) - expected[name]).max() <= tolerance, name


def pixels(clip: Clip, index: int) -> dict[str, np.ndarray]:
    """Values of a sweep in the pixels of its range map, by the projection of the lidar."""
    sweep = clip.read_sweep(index)
    if sweep.range_m is not None:
        held = {"intensity": sweep.intensity, "labels": sweep.labels}
        return {name: values for name, values in held.items() if values is not None}
    places = np.asarray(clip.project(sweep, index).point_index)
    near = clip.range_map(index) <= clip.sensor.max_range_m
    held = {"intensity": sweep.intensity, "labels": sweep.labels}
    return {
        name: np.where((places >= 0) & near, values[places], 0) for name, values in held.items() if values is not None
    }


def layers(folder: Path):
    """Yield clip id, frame, and the decoded intensity and classes of every frame of a folder of shards."""
    decoders = {"intensity": (INTENSITY, decode_intensities), "labels": (LABELS, decode_labels)}
    for shard in read_manifest(folder).shards:
        tar = TarIndex.of(folder / shard.name)
        for member in tar.members:
            if member.endswith(META):
                meta, key = read_meta(tar.read(member)), member.removesuffix(META)
                found = {
                    name: decode(tar.read(key + part)) for name, (part, decode) in decoders.items()
                    if key + part in tar.members
                }  # fmt: skip
                for place, frame in enumerate(meta.frame_numbers):
                    yield meta.clip_id, frame, {name: values[place] for name, values in found.items()}


@pytest.mark.slow
def test_twenty_steps_of_the_lidar_tokenizer(real, test_data, tmp_path, monkeypatch):
    pytest.importorskip("nemo")
    from cosmos_lidar.recipes.lidar_tokenizer import debug, train
    from cosmos_lidar.training.overrides import apply_overrides
    from cosmos_lidar.training.run_log import read_metrics

    prepare(real, test_data, tmp_path / "shards")
    (tmp_path / "mix.yaml").write_text(MIX)
    options = [f"data.path={tmp_path / 'mix.yaml'}", "synthetic_drives=0", f"log.root={tmp_path}"]
    options += ["trainer.max_steps=20", "trainer.val_every=20", "trainer.val_batches=1", "trainer.save_every=20"]
    done = train(apply_overrides(debug(), options))
    assert (done.step, done.signal) == (20, 0)
    losses = [float(row["loss"]) for row in read_metrics(done.folder / "metrics.csv") if row.get("loss")]
    assert len(losses) == 20
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_a_record_of_cameras_alone_is_read_and_shown_and_has_no_sweeps(test_data, tmp_path, capsys):
    path = test_data / "waymo" / "v1"
    (clip,) = open_clips(path)
    assert (clip.lidars, len(clip.cameras)) == ({}, 5)
    assert main(["view", str(path), "--html", str(tmp_path / "page.html"), "--image-width", "320"]) == 0
    assert "FRONT" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert main(["prepare", str(path), str(tmp_path / "shards"), "--split", "1,0,0"]) == 2
    assert "no lidar in it" in capsys.readouterr().err
