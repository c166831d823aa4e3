from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from megatron.energon.flavors import BaseWebdatasetFactory

from cosmos_lidar.cli import main
from cosmos_lidar.clips.clip import Clip, Sweep
from cosmos_lidar.clips.range_codec import decode_intensities, decode_labels, decode_ranges
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards import files
from cosmos_lidar.shards.check import check_shards
from cosmos_lidar.shards.energon_index import shards_of
from cosmos_lidar.shards.manifest import Manifest, read_manifest
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards
from cosmos_lidar.shards.sweeps import INTENSITY, LABELS, META, RANGES, read_meta
from tests.energon_tasks.energon_commands import energon_prepare
from tests.shards.conftest import SENSOR, tiny_clip, tiny_sweep
from tests.waiting import wait_until

OPTIONS = PrepareOptions(split=(0.6, 0.2, 0.2), samples_per_shard=3)


def read_tar(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def tars(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def test_shards_hold_the_clips(clips: list[Clip], tmp_path: Path) -> None:
    manifest = prepare_shards(clips, tmp_path / "out", OPTIONS)
    assert {split: len(ids) for split, ids in manifest.splits.items()} == {"train": 4, "val": 1, "test": 1}
    assert manifest == read_manifest(tmp_path / "out")
    seen = {}
    for shard in manifest.shards:
        parts = read_tar(tmp_path / "out" / shard.name)
        for name in [name for name in parts if name.endswith(META)]:
            key = name.split(".")[0]
            meta = read_meta(parts[name])
            ranges = decode_ranges(parts[f"{key}.{RANGES}"])
            intensities = decode_intensities(parts[f"{key}.{INTENSITY}"])
            labels = decode_labels(parts[f"{key}.{LABELS}"])
            for place, number in enumerate(meta.frame_numbers):
                seen[meta.clip_id, number] = (ranges[place], intensities[place], labels[place], meta)
    assert len(seen) == 6 * 23
    for clip in clips:
        for number in (0, 11, 22):
            sweep, (range_m, intensity, labels, meta) = clip.read_sweep(number), seen[clip.clip_id, number]
            np.testing.assert_allclose(range_m, sweep.range_m, atol=1.01e-3)
            np.testing.assert_allclose(intensity, sweep.intensity, rtol=1e-3)
            np.testing.assert_array_equal(labels, sweep.labels)
            place = meta.frame_numbers.index(number)
            assert meta.frame_ids[place] == clip.frame_ids[number]
            assert meta.timestamps_us[place] == clip.timestamps_us[number].tolist()
            assert meta.world_SE3_lidar[place] == clip.world_SE3_lidar[number].tolist()
            assert (tmp_path / "out" / meta.sensor_file).is_file()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["frames"], report["bad_frames"]) == (138, [])
    assert report["bytes"] == sum(len(data) for data in tars(tmp_path / "out").values())


def test_processes_write_the_same_bytes(clips: list[Clip], tmp_path: Path) -> None:
    prepare_shards(clips, tmp_path / "one", OPTIONS)
    prepare_shards(clips, tmp_path / "three", OPTIONS, jobs=3)
    assert tars(tmp_path / "one") == tars(tmp_path / "three")
    assert read_manifest(tmp_path / "one") == read_manifest(tmp_path / "three")


def test_points_are_projected_with_their_intensity(tmp_path: Path) -> None:
    point = np.array([[10.0, 0.0, 0.0], [12.0, 0.0, 0.0], [0.0, 30.0, 0.0]], np.float32)
    sweep = Sweep(points=point, intensity=np.array([0.5, 0.7, 0.9], np.float32), labels=np.array([1, 2, 3], np.uint16))
    empty = Sweep(points=np.zeros((0, 3), np.float32), intensity=np.zeros(0, np.float32), labels=np.zeros(0, np.uint16))
    clip = tiny_clip("points", 2, read=lambda number: (sweep, empty)[number])
    prepare_shards([clip], tmp_path / "out", PrepareOptions(split=(1,), bad_budget=0.5))
    parts = read_tar(tmp_path / "out" / "train-000000.tar")
    range_m = decode_ranges(parts[f"points_000000.{RANGES}"])
    labels = decode_labels(parts[f"points_000000.{LABELS}"])
    np.testing.assert_allclose(np.sort(range_m[range_m > 0]), [10, 30], atol=1e-3)
    assert sorted(zip(range_m[range_m > 0].round(), labels[range_m > 0], strict=True)) == [(10, 1), (30, 3)]
    (bad,) = json.loads((tmp_path / "out" / "report.json").read_text())["bad_frames"]
    assert len(range_m) == 1
    assert (bad["frame"], bad["problem"][:26]) == (clip.frame_ids[1], "no return in the range map")


def test_returns_beyond_the_sensor_are_dropped_and_counted(tmp_path: Path) -> None:
    near = replace(SENSOR, max_range_m=60.0)
    prepare_shards([tiny_clip("near", 4, near)], tmp_path / "out", PrepareOptions(split=(1,)))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    maps = [tiny_sweep(sum(b"near") * 1000 + number, near).range_m for number in range(4)]
    assert report["returns_beyond_max_range"] == sum(np.count_nonzero(range_m > 60) for range_m in maps) > 0


def test_missing_energon_is_told_before_the_work(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="megatron.energon, which is not installed"):
        prepare_shards(clips, tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------ stops and restarts


SLOW_RUN = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.shards.conftest import tiny_clip, tiny_sweep
from tests.shards.test_prepare import OPTIONS
from cosmos_lidar.shards.prepare import prepare_shards

def stuck_in_drive3(name):
    def read(number):
        if name == "drive3" and number == 17:
            time.sleep(600)  # until it is killed
        return tiny_sweep(sum(name.encode()) * 1000 + number)
    return tiny_clip(name, 23, read=read)

clips = [stuck_in_drive3(f"drive{number}") for number in range(6)]
prepare_shards(clips, Path(sys.argv[2]), OPTIONS, jobs=int(sys.argv[3]))
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_and_run_again_gives_the_same_bytes(clips: list[Clip], tmp_path: Path, jobs: int) -> None:
    out = tmp_path / "killed"
    run = subprocess.Popen([sys.executable, "-c", SLOW_RUN, str(Path(__file__).parents[2]), str(out), str(jobs)])
    journal = out / "prepare.journal.jsonl"

    def in_the_middle() -> bool:
        assert run.poll() is None, "the run ended before it was killed"
        return journal.exists() and len(journal.read_text().splitlines()) >= 2 and bool(list(out.glob("*.part")))

    wait_until(in_the_middle, "a finished shard and one that is begun")
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    finished = {json.loads(line)["name"] for line in journal.read_text().splitlines()[1:]}
    times = {name: (out / name).stat().st_mtime_ns for name in finished}
    with pytest.raises(DataError, match="was not finished here.*run the same command again"):
        read_manifest(out)
    prepare_shards(clips, out, OPTIONS, resume=True)
    prepare_shards(clips, tmp_path / "whole", OPTIONS)
    assert tars(out) == tars(tmp_path / "whole")
    assert times == {name: (out / name).stat().st_mtime_ns for name in finished}
    assert not list(out.glob("*.part"))
    assert not check_shards(out).problems


def test_torn_line_of_the_journal_is_forgotten(clips: list[Clip], tmp_path: Path) -> None:
    prepare_shards(clips, tmp_path, OPTIONS)
    whole = tars(tmp_path)
    (tmp_path / "manifest.json").unlink()
    journal = tmp_path / "prepare.journal.jsonl"
    journal.write_text(journal.read_text()[:-30])
    prepare_shards(clips, tmp_path, OPTIONS)
    assert tars(tmp_path) == whole
    assert not check_shards(tmp_path).problems


def test_lost_shard_is_written_again(clips: list[Clip], tmp_path: Path) -> None:
    prepare_shards(clips, tmp_path, OPTIONS)
    whole = tars(tmp_path)
    (tmp_path / "train-000001.tar").unlink()
    (tmp_path / "val-000000.tar").write_bytes(b"half")
    prepare_shards(clips, tmp_path, OPTIONS)
    assert tars(tmp_path) == whole


def test_full_disk_is_told_and_survived(clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [100_000]
    write = files._Hashing.write

    def until_full(self: files._Hashing, data: bytes) -> int:
        left[0] -= len(data)
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(files._Hashing, "write", until_full)
    with pytest.raises(DataError, match=r"No space left on device \[file .*train-.*\.tar\] Expected: free space"):
        prepare_shards(clips, tmp_path / "out", OPTIONS)
    monkeypatch.undo()
    assert not list((tmp_path / "out").glob("*.part"))
    begun = tars(tmp_path / "out")
    assert begun
    prepare_shards(clips, tmp_path / "out", OPTIONS)
    prepare_shards(clips, tmp_path / "whole", OPTIONS)
    assert tars(tmp_path / "out") == tars(tmp_path / "whole")


def test_limit_of_the_system_on_file_sizes(clips: list[Clip], tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(DataError, match="cannot write: File too large"):
            prepare_shards(clips, tmp_path, OPTIONS, jobs=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not tars(tmp_path)
    assert prepare_shards(clips, tmp_path, OPTIONS).shards


def test_other_content_is_refused(clips: list[Clip], tmp_path: Path) -> None:
    prepare_shards(clips, tmp_path / "out", OPTIONS)
    with pytest.raises(DataError, match="other clips or other options"):
        prepare_shards(clips, tmp_path / "out", replace(OPTIONS, seed=1))
    with pytest.raises(DataError, match="other clips or other options"):
        prepare_shards(clips[:5], tmp_path / "out", OPTIONS, resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="not empty.*mine"):
        prepare_shards(clips, tmp_path / "mine", OPTIONS)
    with pytest.raises(DataError, match="this is a file"):
        prepare_shards(clips, tmp_path / "mine" / "thesis.txt", OPTIONS)
    with pytest.raises(UserError, match="no interrupted run"):
        prepare_shards(clips, tmp_path / "new", OPTIONS, resume=True)


# -------------------------------------------------------------------------------------------------------- bad frames


def with_bad_frame(problem: Sweep | Exception, frames: int = 40) -> Clip:
    def read(number: int) -> Sweep:
        if number != 13:
            return tiny_sweep(number)
        if isinstance(problem, Exception):
            raise problem
        return problem

    return tiny_clip("shaky", frames, read=read)


def spoiled(value: float) -> Sweep:
    range_m = tiny_sweep(0).range_m.copy()
    range_m[3, 4] = value
    return Sweep(range_m=range_m)


BAD_FRAMES = [
    (spoiled(np.nan), "1 ranges are NaN or infinite"),
    (spoiled(-3.0), "1 ranges are negative"),
    (Sweep(range_m=np.ones((8, 32), np.int32)), "dtype int32"),
    (Sweep(range_m=np.ones((8, 31), np.float32)), r"shape \(8, 31\)"),
    (Sweep(points=np.array([[1, 2, np.nan]], np.float32)), "1 points are NaN"),
    (Sweep(range_m=np.ones((8, 32), np.float32), labels=np.ones((8, 32), np.int64)), "int64"),
    (OSError(5, "Input/output error"), "Input/output error"),
    (DataError("member missing", file="x.tar", key="a.npz"), "member missing"),
]


@pytest.mark.parametrize(("problem", "message"), BAD_FRAMES)
def test_bad_frame_stops_the_run_and_is_reported(problem: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"1 of 40 frames cannot be used.*frame 000013: .*{message}.*clip shaky"):
        prepare_shards([with_bad_frame(problem)], tmp_path, PrepareOptions(split=(1,)))
    (bad,) = json.loads((tmp_path / "report.json").read_text())["bad_frames"]
    assert (bad["clip"], bad["frame"]) == ("shaky", "000013")
    assert not tars(tmp_path)


@pytest.mark.parametrize("jobs", [1, 2])
def test_bad_frame_within_the_budget_is_left_out(tmp_path: Path, jobs: int) -> None:
    options = PrepareOptions(split=(1,), bad_budget=0.03, samples_per_shard=1)
    manifest = prepare_shards([with_bad_frame(spoiled(np.nan))], tmp_path, options, jobs=jobs)
    assert sum(shard.frames for shard in manifest.shards) == 39
    meta = read_meta(read_tar(tmp_path / "train-000001.tar")["shaky_000010." + META])
    assert meta.frame_numbers == [10, 11, 12, 14, 15, 16, 17, 18, 19]
    assert [bad.frame for shard in manifest.shards for bad in shard.bad_frames] == ["000013"]
    assert not check_shards(tmp_path).problems


def test_budget_stops_workers_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 of 40 frames cannot be used"):
        prepare_shards(
            [with_bad_frame(spoiled(np.nan))], tmp_path, PrepareOptions(split=(1,), samples_per_shard=1), jobs=2
        )


def test_split_without_a_good_frame_is_named(clips: list[Clip], tmp_path: Path) -> None:
    lists = []
    for split, names in (("train", ["drive0"]), ("val", ["hopeless"])):
        lists.append(tmp_path / f"{split}.lst")
        lists[-1].write_text("\n".join(names))
    hopeless = tiny_clip("hopeless", 2, read=lambda _: spoiled(np.nan))
    options = PrepareOptions(split_lists=tuple(lists), bad_budget=1.0)
    with pytest.raises(DataError, match="split val is empty"):
        prepare_shards([clips[0], hopeless], tmp_path / "out", options)


# ------------------------------------------------------------------------------------------------------ command line


@pytest.fixture
def release(tmp_path: Path, clips: list[Clip]) -> Path:
    from cosmos_lidar.clips.writers.release import write_release

    for clip in clips[:3]:
        write_release(tmp_path / "release", clip, max_frames=4)
    return tmp_path / "release"


def test_truncated_recording_is_named(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tar = sorted((release / "lidar").glob("*.tar"))[0]
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    assert main(["prepare", str(release), str(tmp_path / "shards"), "--format", "release"]) == 2
    error = capsys.readouterr().err
    assert tar.name in error
    assert f"clip {tar.stem}" in error
    assert not tars(tmp_path / "shards")


def test_plain_energon_prepare_works_on_the_folder(clips: list[Clip], tmp_path: Path) -> None:
    prepare_shards(clips, tmp_path, OPTIONS)
    patterns = [f"--split-parts={split}:{split}-.*" for split in ("train", "val", "test")]
    energon_prepare(tmp_path, "--force-overwrite", "--sample-type", "CrudeWebdataset", *patterns)
    assert not check_shards(tmp_path).problems
    energon_prepare(tmp_path, "--force-overwrite", "--split-ratio", "1,1,0", "--sample-type", "CrudeWebdataset")
    problems = [problem.problem for problem in check_shards(tmp_path).problems]
    assert any("split.yaml" in problem for problem in problems)


@pytest.mark.parametrize("whole", [False, True])
def test_energons_own_split_divides_no_drive_where_shards_end_with_drives(tmp_path: Path, whole: bool) -> None:
    drives = [tiny_clip(f"drive{drive}_{part}", 5) for drive in range(6) for part in range(2)]
    options = PrepareOptions(
        split=(1,), drive_pattern=r"^drive\d+", frames_per_sample=2, samples_per_shard=8, whole_drives=whole
    )
    prepare_shards(drives, tmp_path, options)
    ratio = [("train", 2.0), ("val", 1.0), ("test", 1.0)]
    names = sorted(tar.name for tar in tmp_path.glob("*.tar"))
    BaseWebdatasetFactory.prepare_dataset(tmp_path, names, split_parts_ratio=ratio, workers=1)
    seen = {
        split: {name.split("_")[0] for shard in shards_of(tmp_path, split) for name in read_tar(tmp_path / shard)}
        for split in ("train", "val", "test")
    }
    assert (sum(len(names) for names in seen.values()) == 6) == whole
    assert set.union(*seen.values()) == {f"drive{number}" for number in range(6)}


def test_manifest_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_manifest(tmp_path / "absent")
    with pytest.raises(DataError, match=r"no manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="not a readable manifest"):
        read_manifest(tmp_path)
    manifest = Manifest("x", {}, [], [], 1)
    document = {"version": 9, "tool": "later", **vars(manifest)}
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="version 9"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(("folder", "format"), [("kitti_velodyne", "kitti"), ("nuscenes", "nuscenes")])
def test_real_recordings(test_data: Path, tmp_path: Path, folder: str, format: str) -> None:
    out = tmp_path / "shards"
    command = ["prepare", str(test_data / folder), str(out), "--format", format, "--split", "1,0,0"]
    assert main(command) == 0
    assert main(["check", str(out)]) == 0
    from cosmos_lidar.clips import open_clips

    clip = open_clips(test_data / folder, format=format)[0]
    parts = read_tar(out / "train-000000.tar")
    stored = decode_ranges(parts[f"{clip.clip_id}_000000.{RANGES}"], [0])[0]
    range_m = clip.range_map(0)
    np.testing.assert_allclose(stored[range_m > 0.002], range_m[range_m > 0.002], atol=1.01e-3)
    np.testing.assert_array_equal(stored > 0, range_m > 0)
    intensity = decode_intensities(parts[f"{clip.clip_id}_000000.{INTENSITY}"], [0])[0]
    assert intensity.max() > 0
