from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors.sensor import uniform_sensor
from cosmos_lidar.shards.plan import PrepareOptions, fill_shards, make_plan
from tests.shards.conftest import tiny_clip


def many(count: int, frames: int = 3) -> list[Clip]:
    return [tiny_clip(f"clip{number:03d}", frames) for number in range(count)]


def sizes(clips: list[Clip], **options: object) -> dict[str, int]:
    return {split: len(ids) for split, ids in make_plan(clips, PrepareOptions(**options)).splits.items()}


@pytest.mark.parametrize(
    ("count", "split", "expected"),
    [
        (100, (0.9, 0.1, 0.0), {"train": 90, "val": 10}),
        (100, (8, 1, 1), {"train": 80, "val": 10, "test": 10}),
        (2, (0.9, 0.1, 0.0), {"train": 1, "val": 1}),
        (3, (0.98, 0.01, 0.01), {"train": 1, "val": 1, "test": 1}),
        (4, (0.98, 0.01, 0.01), {"train": 2, "val": 1, "test": 1}),
        (5, (1.0,), {"train": 5}),
        (7, (0.0, 1.0, 0.0), {"val": 7}),
        (10, (1, 1, 1), {"train": 4, "val": 3, "test": 3}),
    ],
)
def test_shares_of_clips(count: int, split: tuple[float, ...], expected: dict[str, int]) -> None:
    assert sizes(many(count), split=split) == expected


def test_split_depends_on_seed_and_ids_only() -> None:
    clips = many(40)
    plan = make_plan(clips, PrepareOptions(seed=3))
    assert {k: set(v) for k, v in make_plan(clips[::-1], PrepareOptions(seed=3)).splits.items()} == {
        k: set(v) for k, v in plan.splits.items()
    }
    assert make_plan(clips, PrepareOptions(seed=4)).splits != plan.splits


def test_no_clip_is_in_two_splits_and_none_is_lost() -> None:
    clips = many(11)
    plan = make_plan(clips, PrepareOptions(split=(0.5, 0.3, 0.2), samples_per_shard=2))
    taken = [clip_id for ids in plan.splits.values() for clip_id in ids]
    assert sorted(taken) == [clip.clip_id for clip in clips]
    for shard in plan.shards:
        assert shard.name.startswith(shard.split + "-")
        assert {clips[run.clip].clip_id for run in shard.runs} <= set(plan.splits[shard.split])


def test_clips_of_one_drive_stay_together() -> None:
    clips = [tiny_clip(f"drive{drive}_{part}", 2) for drive in range(4) for part in range(5)]
    plan = make_plan(clips, PrepareOptions(split=(0.5, 0.5), drive_pattern=r"^drive\d+"))
    drives = {split: {name.split("_")[0] for name in ids} for split, ids in plan.splits.items()}
    assert not drives["train"] & drives["val"]
    assert [len(ids) for ids in plan.splits.values()] == [10, 10]
    with pytest.raises(DataError, match="not found.*clip drive0_0"):
        make_plan(clips, PrepareOptions(drive_pattern="^truck"))
    with pytest.raises(UserError, match="not a regular expression"):
        make_plan(clips, PrepareOptions(drive_pattern="("))


def test_too_few_drives_name_the_empty_splits() -> None:
    with pytest.raises(UserError, match=r"1 drive\(s\) for 2 splits leave val empty"):
        make_plan(many(1), PrepareOptions())
    with pytest.raises(UserError, match="leave val and test empty"):
        make_plan(many(1), PrepareOptions(split=(1, 1, 1)))


@pytest.mark.parametrize(
    "options",
    [{"split": (0, 0)}, {"split": (1, -1)}, {"split": (1, 1, 1, 1)}, {"frames_per_sample": 0}, {"bad_budget": 2}],
)
def test_impossible_options(options: dict) -> None:
    with pytest.raises(UserError, match="--"):
        make_plan(many(5), PrepareOptions(**options))


def test_runs_are_nearly_equal_and_cover_the_clip() -> None:
    plan = make_plan([tiny_clip("one", 41)], PrepareOptions(split=(1,), samples_per_shard=2))
    runs = [run for shard in plan.shards for run in shard.runs]
    assert [frame for run in runs for frame in range(run.start, run.stop)] == list(range(41))
    assert {run.stop - run.start for run in runs} == {8, 9}
    assert [len(shard.runs) for shard in plan.shards] == [2, 2, 1]
    assert runs[1].key == "one_000008"


def test_lists_decide_the_split(tmp_path: Path) -> None:
    train, val = tmp_path / "train.lst", tmp_path / "val.lst"
    train.write_text("clip002.tar\n\nclip000\n")
    val.write_text("clip001.mp4\n")
    plan = make_plan(many(5), PrepareOptions(split_lists=(train, val)))
    assert plan.splits == {"train": ["clip002", "clip000"], "val": ["clip001"]}
    val.write_text("clip009\n")
    with pytest.raises(DataError, match=r"val\.lst, clip clip009"):
        make_plan(many(5), PrepareOptions(split_lists=(train, val)))
    val.write_text("clip000\n")
    with pytest.raises(DataError, match=r"listed twice \(train, val\)"):
        make_plan(many(5), PrepareOptions(split_lists=(train, val)))
    val.write_text("\n")
    with pytest.raises(DataError, match=r"split val is empty.*val\.lst"):
        make_plan(many(5), PrepareOptions(split_lists=(train, val)))
    with pytest.raises(DataError, match=r"absent\.lst"):
        make_plan(many(5), PrepareOptions(split_lists=(tmp_path / "absent.lst",)))


def scenes(*names: str) -> list[Clip]:
    return [tiny_clip(name, 3) for name in names]


def test_a_published_split_decides() -> None:
    clips = scenes("scene-0103", "scene-0001", "scene-0553", "scene-0077")
    plan = make_plan(clips, PrepareOptions(published="nuscenes"))
    assert plan.splits == {"train": ["scene-0001"], "val": ["scene-0103", "scene-0553"], "test": ["scene-0077"]}
    assert plan.left_out == ()
    mini = make_plan(clips[:1] + clips[2:3], PrepareOptions(published="nuscenes_mini"))
    assert mini.splits == {"train": ["scene-0553"], "val": ["scene-0103"]}
    assert mini.fingerprint != make_plan(clips[:1] + clips[2:3], PrepareOptions(published="nuscenes")).fingerprint
    assert make_plan(clips[1:2], PrepareOptions(published="nuscenes")).splits == {"train": ["scene-0001"]}


def test_clips_in_no_published_list_are_refused_by_name_or_left_out_and_counted(caplog) -> None:
    clips = [*scenes("scene-0103", "scene-9998", "scene-9999", "scene-0001"), tiny_clip("empty", 0)]
    with pytest.raises(DataError, match="2 of 4 clips are in no split of nuscenes.*clip scene-9998.*--skip-unlisted"):
        make_plan(clips, PrepareOptions(published="nuscenes"))
    plan = make_plan(clips, PrepareOptions(published="nuscenes", skip_unlisted=True))
    assert plan.splits == {"train": ["scene-0001"], "val": ["scene-0103"]}
    assert plan.left_out == ("scene-9998", "scene-9999")
    assert "2 clips are in no list and left out: scene-9998, scene-9999" in caplog.text
    with pytest.raises(DataError, match="2 of 2 clips are in no split"):
        make_plan(scenes("a", "b"), PrepareOptions(published="nuscenes", skip_unlisted=True))


def test_folders_decide_the_split_of_waymo(tmp_path: Path) -> None:
    clips = [
        replace(tiny_clip(f"segment-{number}", 2), source=tmp_path / folder / f"segment-{number}.tfrecord")
        for number, folder in enumerate(("validation", "training", "training"))
    ]
    plan = make_plan(clips, PrepareOptions(published="waymo"))
    assert plan.splits == {"train": ["segment-1", "segment-2"], "val": ["segment-0"]}
    elsewhere = replace(clips[0], source=tmp_path / "segments" / "segment-0.tfrecord")
    with pytest.raises(DataError, match="1 of 1 clips are in no split of waymo.*folders training, validation, testing"):
        make_plan([elsewhere], PrepareOptions(published="waymo"))


def test_impossible_published_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no published split 'nuscene'"):
        make_plan(many(1), PrepareOptions(published="nuscene"))
    with pytest.raises(UserError, match="--split nuscenes excludes --split-list"):
        make_plan(many(1), PrepareOptions(published="nuscenes", split_lists=(tmp_path / "a.lst",)))
    with pytest.raises(UserError, match="--skip-unlisted is for published splits"):
        make_plan(many(1), PrepareOptions(skip_unlisted=True))


def test_lists_that_divide_a_drive_are_refused(tmp_path: Path) -> None:
    clips = [tiny_clip(f"drive{drive}_{part}", 2) for drive in range(2) for part in range(2)]
    lists = tmp_path / "train.lst", tmp_path / "val.lst"
    lists[0].write_text("drive0_0\ndrive0_1\n")
    lists[1].write_text("drive1_0\n")
    options = PrepareOptions(split_lists=lists, drive_pattern=r"^drive\d+")
    assert make_plan(clips, options).left_out == ("drive1_1",)
    lists[0].write_text("drive0_0\ndrive1_1\n")
    with pytest.raises(DataError, match="drive drive1 is in train and val.*clip drive1_0.*--drive-pattern"):
        make_plan(clips, options)
    one_drive = PrepareOptions(published="nuscenes", drive_pattern="^scene-0")
    with pytest.raises(DataError, match="drive scene-0 is in train and val"):
        make_plan(scenes("scene-0103", "scene-0001"), one_drive)


def test_shards_that_end_with_drives_hold_whole_ones() -> None:
    clips = [tiny_clip(f"drive{drive}_{part}", 2 + 11 * (drive == 2)) for drive in range(5) for part in range(2)]
    options = PrepareOptions(
        split=(1,), drive_pattern=r"^drive\d+", frames_per_sample=2, samples_per_shard=5, whole_drives=True
    )
    shards = make_plan(clips, options).shards
    drives = [{clips[run.clip].clip_id[:6] for run in shard.runs} for shard in shards]
    assert sum(len(one) for one in drives) == 5
    assert set.union(*drives) == {f"drive{number}" for number in range(5)}
    assert sorted(len(shard.runs) for shard in shards)[-1] == 14  # the drive of 26 frames
    assert sum(shard.frames for shard in shards) == 2 * (4 * 2 + 13)
    mixed = make_plan(clips, replace(options, whole_drives=False)).shards
    assert max(len(shard.runs) for shard in mixed) == 5
    assert fill_shards([("a", 1), ("b", 2), ("a", 3)], PrepareOptions(samples_per_shard=2, whole_drives=True)) == [
        [1, 3],
        [2],
    ]


def test_fingerprints_of_stored_shards_stay() -> None:
    """Folders that were begun before an option existed resume."""
    assert make_plan(many(3), PrepareOptions()).fingerprint == "717d853f2c96fab4"
    assert make_plan(many(3), PrepareOptions(whole_drives=True)).fingerprint != "717d853f2c96fab4"


@pytest.mark.parametrize("name", ["a.b", "a/b", "a b", ""])
def test_ids_that_cannot_be_keys(name: str) -> None:
    with pytest.raises(DataError, match="cannot be a key"):
        make_plan([tiny_clip(name, 2)], PrepareOptions(split=(1,)))


def test_nothing_to_write() -> None:
    with pytest.raises(DataError, match="no clip"):
        make_plan([], PrepareOptions())
    with pytest.raises(DataError, match="no clip holds a frame"):
        make_plan(many(2, frames=0), PrepareOptions())
    with pytest.raises(DataError, match="two clips"):
        make_plan([tiny_clip("a", 1), tiny_clip("a", 1)], PrepareOptions())


def test_sensor_beyond_the_storage_is_refused() -> None:
    far = uniform_sensor(4, 8, max_range_m=250.0)
    with pytest.raises(DataError, match="reaches 250.0 m.*clip far, key max_range_m.*131.1 m, or a larger"):
        make_plan([tiny_clip("far", 2, far)], PrepareOptions(split=(1,)))
