from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors.range_image import prepare_range_map
from cosmos_lidar.shards.manifest import index_with_energon, read_manifest, write_manifest
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards
from tests.energon_tasks.conftest import SENSOR, tiny_clip, tiny_map
from tests.workers.client import ROOT, python

torch = pytest.importorskip("torch")
pytest.importorskip("megatron.energon")
pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

from energon_tasks.sweeps import LidarBatch, LidarTaskEncoder, choose_frames, lidar_loader  # noqa: E402


def signature(batch: LidarBatch) -> tuple:
    return tuple(batch.clip_ids), tuple(batch.frame_ids), round(float(batch.images.double().sum()), 6)


def take(loader: object, count: int) -> list[tuple]:
    batches = iter(loader)
    return [signature(next(batches)) for _ in range(count)]


def copy_of(shards: Path, tmp_path: Path) -> Path:
    shutil.copytree(shards, tmp_path / "copy")
    return tmp_path / "copy"


def test_energons_own_dataset_reads_through_the_multi_storage_client(shards: Path, tmp_path: Path) -> None:
    """A profile of the local file system stands for an object store; clients are configured once per process."""
    config = tmp_path / "msc.yaml"
    config.write_text(
        f"profiles:\n  store:\n    storage_provider:\n      type: file\n      options: {{base_path: {shards.parent}}}\n"
    )
    code = (
        "from megatron.energon import WorkerConfig, get_loader, get_val_dataset\n"
        "from energon_tasks.sweeps import LidarTaskEncoder\n"
        "from tests.energon_tasks.conftest import SENSOR\n"
        "encoder = LidarTaskEncoder(SENSOR.format, frame_mode='all', fresh=False)\n"
        "workers = WorkerConfig(rank=0, world_size=1, num_workers=0)\n"
        "options = {'worker_config': workers, 'batch_size': 1, 'task_encoder': encoder}\n"
        f"dataset = get_val_dataset('msc://store/{shards.name}', **options)\n"
        "for batch in get_loader(dataset):\n"
        "    print('sum', *batch.frame_ids, round(float(batch.images.double().sum()), 6))\n"
    )
    done = python("-c", code, env={"MSC_CONFIG": str(config)}, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("sum ")]
    expected = [signature(batch) for batch in lidar_loader(shards, "val", batch_size=1)]
    assert sorted(frame for *frames, _ in found for frame in frames) == sorted(one for _, (one,), _ in expected)
    assert sum(float(one[-1]) for one in found) == pytest.approx(sum(one[2] for one in expected), abs=1e-4)


# ---------------------------------------------------------------------------------------------------------- images


def test_images_are_those_of_the_sensor_file(shards: Path) -> None:
    seen = 0
    for batch in lidar_loader(shards, "val", batch_size=3):
        assert batch.images.dtype == torch.float32
        assert batch.images.shape[1:] == (3, 8, 24)
        assert batch.valid.dtype == torch.bool
        assert batch.valid.shape == (len(batch.images), 1, 8, 24)
        assert len(batch.__key__) == len(batch.images) == len(batch.clip_ids) == len(batch.frame_ids)
        for image, valid, clip, frame in zip(batch.images, batch.valid, batch.clip_ids, batch.frame_ids, strict=True):
            range_m = tiny_map(clip, int(frame))
            expected = prepare_range_map(range_m, SENSOR.format)
            np.testing.assert_allclose(image, expected, atol=2.2e-5)  # 1 mm of the 95 m that are 2 units
            pairs = np.where(range_m > 0, range_m, np.inf).reshape(4, 24, 2).min(axis=2)
            inside = np.repeat((pairs > 5) & (pairs < 100), 2, axis=0)
            assert (valid[0].numpy() != inside).sum() <= 2  # a range within 1 mm of a limit
            seen += 1
    assert seen == 20


def test_centre_crop_of_validation(shards: Path) -> None:
    whole = next(iter(lidar_loader(shards, "val", batch_size=20)))
    cropped = next(iter(lidar_loader(shards, "val", batch_size=20, crop_width=7)))
    assert cropped.images.shape[-1] == cropped.valid.shape[-1] == 7
    torch.testing.assert_close(cropped.images, whole.images[..., 8:15])
    assert torch.equal(cropped.valid, whole.valid[..., 8:15])


def test_random_crops_are_windows_of_the_image_and_differ(shards: Path) -> None:
    loader = lidar_loader(shards, batch_size=8, crop_width=6)
    starts = set()
    for batch, _ in zip(loader, range(6), strict=False):
        for image, clip, frame in zip(batch.images, batch.clip_ids, batch.frame_ids, strict=True):
            whole = prepare_range_map(tiny_map(clip, int(frame)), SENSOR.format)
            errors = [np.abs(whole[..., start : start + 6] - image.numpy()).max() for start in range(19)]
            assert min(errors) < 1e-4
            starts.add(int(np.argmin(errors)))
    assert len(starts) > 10
    assert {0, 18} & starts


def test_flip_mirrors_half_of_the_images(shards: Path) -> None:
    mirrored = 0
    for batch, _ in zip(lidar_loader(shards, batch_size=10, flip=True), range(6), strict=False):
        for image, clip, frame in zip(batch.images, batch.clip_ids, batch.frame_ids, strict=True):
            whole = prepare_range_map(tiny_map(clip, int(frame)), SENSOR.format)
            if np.abs(whole[..., ::-1] - image.numpy()).max() < 1e-4:
                mirrored += 1
            else:
                np.testing.assert_allclose(image, whole, atol=1e-4)
    assert 15 < mirrored < 45
    batch = next(iter(lidar_loader(shards, "val", batch_size=1, flip=True)))
    whole = prepare_range_map(tiny_map(batch.clip_ids[0], int(batch.frame_ids[0])), SENSOR.format)
    np.testing.assert_allclose(batch.images[0], whole, atol=1e-4)


def test_other_format_than_the_sensor_file(shards: Path) -> None:
    batch = next(iter(lidar_loader(shards, "val", batch_size=2, format=replace(SENSOR.format, repeat_rows=1))))
    assert batch.images.shape == (2, 3, 4, 24)


# ------------------------------------------------------------------------------------------------------ frame choice


def test_frame_modes() -> None:
    rng = np.random.default_rng(0)
    assert choose_frames("all", 5, 2, 1, rng) == [0, 1, 2, 3, 4]
    assert choose_frames("sequential_from_zero", 10, 3, 2, rng) == [0, 2, 4]
    starts = {tuple(choose_frames("sequential", 10, 3, 2, rng)) for _ in range(200)}
    assert starts == {(start, start + 2, start + 4) for start in range(6)}
    assert choose_frames("sequential", 5, 3, 2, rng) == [0, 2, 4]
    drawn = np.array([choose_frames("random", 10, 50, 1, rng) for _ in range(20)])
    assert set(drawn.ravel().tolist()) == set(range(10))


def test_temporal_batches_hold_neighbouring_frames_in_order(shards: Path) -> None:
    loader = lidar_loader(shards, batch_size=2, temporal=True, frames_per_clip=4, frame_step=2, crop_width=5)
    batch = next(iter(loader))
    assert batch.images.shape == (2, 3, 4, 8, 5)
    assert batch.valid.shape == (2, 1, 4, 8, 5)
    whole = lidar_loader(shards, "val", batch_size=1, temporal=True, frame_mode="sequential_from_zero",
                         frames_per_clip=3)  # fmt: skip
    sequence = next(iter(whole))
    for step in range(3):
        number = int(sequence.frame_ids[0]) + step
        expected = prepare_range_map(tiny_map(sequence.clip_ids[0], number), SENSOR.format)
        np.testing.assert_allclose(sequence.images[0, :, step], expected, atol=1e-4)


def test_runs_that_are_too_short_are_left_out_and_counted(tmp_path: Path) -> None:
    clips = [tiny_clip("long", 8), tiny_clip("short", 3), tiny_clip("brief", 2)]
    prepare_shards(clips, tmp_path, PrepareOptions(split=(1,)))
    loader = lidar_loader(tmp_path, batch_size=1, frame_mode="sequential", frames_per_clip=4, repeat=False)
    assert [batch.clip_ids for batch in loader] == [["long"]] * 4
    assert (loader.skip_report.short, loader.skip_report.bad) == (2, 0)


def test_sequence_longer_than_every_run_is_refused(shards: Path) -> None:
    with pytest.raises(UserError, match="6 frames with step 2 need runs of 11 frames.*have at most 10"):
        lidar_loader(shards, batch_size=1, frame_mode="sequential", frames_per_clip=6, frame_step=2)


# ------------------------------------------------------------------------------------------------------- determinism


def test_same_seed_same_batches_other_seed_other_batches(shards: Path) -> None:
    options = {"batch_size": 3, "crop_width": 6, "frames_per_clip": 2}
    first = take(lidar_loader(shards, seed=1, **options), 12)
    assert first == take(lidar_loader(shards, seed=1, **options), 12)
    assert first != take(lidar_loader(shards, seed=2, **options), 12)
    assert len(set(first)) == 12, "epochs repeat themselves"


def test_former_name_of_the_shuffle_buffer_and_of_a_crop(shards: Path) -> None:
    options = {"batch_size": 3, "crop_width": 6}
    first = take(lidar_loader(shards, shuffle_buffer=4, **options), 8)
    assert take(lidar_loader(shards, shuffle_runs=4, **options), 8) == first
    assert take(lidar_loader(shards, shuffle_buffer=2, **options), 8) != first
    center = take(lidar_loader(shards, "val", crop="center", **options), 2)
    assert take(lidar_loader(shards, "val", crop="centre", **options), 2) == center  # codespell:ignore centre


def test_validation_is_finite_and_repeats(shards: Path) -> None:
    loader = lidar_loader(shards, "val", batch_size=6, crop_width=6)
    first, second = [signature(b) for b in loader], [signature(b) for b in loader]
    assert first == second
    assert [len(clips) for clips, _, _ in first] == [6, 6, 6, 2]
    assert sorted(frame for _, frames, _ in first for frame in frames) == [f"{n:06d}" for n in range(20)]
    assert len(list(lidar_loader(shards, "val", batch_size=6, limit=2))) == 2


@pytest.mark.parametrize("batches", range(1, 6))
def test_resumed_loader_goes_on_with_the_very_next_sample(shards: Path, batches: int) -> None:
    """Also in the middle of a run: 4 frames per run do not divide into batches of 3."""
    options = {"batch_size": 3, "crop_width": 6, "frames_per_clip": 4, "shuffle_buffer": 3}
    loader = lidar_loader(shards, **options)
    stream = iter(loader)
    for _ in range(batches):
        next(stream)
    state = loader.save_state_rank()
    expected = [next(stream) for _ in range(8)]
    resumed = lidar_loader(shards, **options)
    resumed.restore_state_rank(state)
    assert take(resumed, 8) == [signature(batch) for batch in expected]
    again = loader.restore_sample(expected[5].__restore_key__)
    assert torch.equal(again.images, expected[5].images)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_resumed_single_pass(shards: Path, workers: int) -> None:
    options = {"batch_size": 3, "crop_width": 6, "frames_per_clip": 4, "num_workers": workers, "repeat": False}
    loader = lidar_loader(shards, **options)
    stream = iter(loader)
    before = [signature(next(stream)) for _ in range(3)]
    state = loader.save_state_rank()
    expected = [signature(batch) for batch in stream]
    assert len(before) + len(expected) in (11, 12)  # 32 images, by one or by two workers
    resumed = lidar_loader(shards, **options)
    resumed.restore_state_rank(state)
    assert [signature(batch) for batch in resumed] == expected
    assert loader.skip_report.seen == 8


RESUME = """
import json, os, sys, warnings
warnings.filterwarnings("ignore")
from energon_tasks.sweeps import lidar_loader

def take(loader, count):
    stream = iter(loader)
    batches = [next(stream) for _ in range(count)]
    return [[b.clip_ids, b.frame_ids, float(b.images.double().sum())] for b in batches]

options = dict(batch_size=3, crop_width=6, frames_per_clip=4, num_workers=2, shuffle_buffer=3)
loader = lidar_loader(sys.argv[1], **options)
take(loader, 4)
state = loader.save_state_rank()
expected = take(loader, 9)
resumed = lidar_loader(sys.argv[1], **options)
resumed.restore_state_rank(state)
print(json.dumps([expected, take(resumed, 9), loader.skip_report.seen]), flush=True)
os._exit(0)  # an endless loader takes 5 s per worker to be torn down
"""


def run_script(script: str, *arguments: object) -> Any:
    done = python("-c", script, *arguments, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_resumed_endless_loader_of_two_workers(shards: Path) -> None:
    expected, resumed, seen = run_script(RESUME, shards)
    assert resumed == expected
    assert len({json.dumps(batch) for batch in expected}) == 9
    assert seen >= 10


RANK = """
import json, sys, warnings
warnings.filterwarnings("ignore")
from energon_tasks.sweeps import lidar_loader
place = {"rank": int(sys.argv[2]), "world_size": 2}
frames = []
for split in ("train", "val"):
    loader = lidar_loader(sys.argv[1], split, batch_size=4, frame_mode="all", repeat=False, **place)
    frames.append([list(pair) for batch in loader for pair in zip(batch.clip_ids, batch.frame_ids)])
drawn = next(iter(lidar_loader(sys.argv[1], "train", batch_size=30, **place))).frame_ids
print(json.dumps([*frames, drawn]))
"""


def test_two_ranks_share_the_frames(shards: Path) -> None:
    first, second = (run_script(RANK, shards, rank) for rank in range(2))
    for mine, theirs, total in zip(first[:2], second[:2], (80, 20), strict=True):
        assert mine
        assert theirs
        assert not {tuple(pair) for pair in mine} & {tuple(pair) for pair in theirs}
        assert len(mine) + len(theirs) == total
    assert first[2] != second[2]


def test_ranks_of_one_process_do_not_share_their_dice(shards: Path) -> None:
    """Energon keeps the seed of the first rank in functions that ask for seeded randomness; ours do not."""
    options = {"batch_size": 8, "crop_width": 6, "frames_per_clip": 2, "world_size": 2}
    alone = take(lidar_loader(shards, rank=1, **options), 4)
    take(lidar_loader(shards, rank=0, **options), 4)
    assert take(lidar_loader(shards, rank=1, **options), 4) == alone


# ------------------------------------------------------------------------------------------------------- bad samples


def damage(folder: Path, shard: int = 0, sample_part: str = "ranges.bin") -> str:
    """Spoil one part without a trace in size; returns the name of the shard."""
    name = read_manifest(folder).of_split("train")[shard].name
    data = bytearray((folder / name).read_bytes())
    place = data.find(sample_part.encode()) + 512 + 300
    data[place : place + 40] = bytes(40)
    (folder / name).write_bytes(bytes(data))
    return name


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_sample_ends_the_run_with_its_name(shards: Path, tmp_path: Path, workers: int) -> None:
    folder = copy_of(shards, tmp_path)
    name = damage(folder)
    loader = lidar_loader(folder, batch_size=1, frame_mode="all", num_workers=workers, repeat=False)
    message = rf"1 samples cannot be used, of 8;.*checksum.*\[file {folder}/{name}, key clip\d_0000"
    with pytest.raises(DataError, match=message) as e:
        list(loader)
    assert "bad_sample_budget" in str(e.value)
    (problem,) = loader.skip_report.problems()
    assert (problem["folder"], problem["shard"]) == (str(folder), name)
    assert loader.skip_report.bad_by_folder() == {str(folder): 1}


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_sample_within_the_budget_is_counted_across_workers(shards: Path, tmp_path: Path, workers: int) -> None:
    folder = copy_of(shards, tmp_path)
    damage(folder)
    options = {"batch_size": 1, "frame_mode": "all", "repeat": False, "bad_sample_budget": 0.2}
    loader = lidar_loader(folder, num_workers=workers, **options)
    assert len(list(loader)) == 70
    report = loader.skip_report
    assert (report.seen, report.bad, report.short) == (8, 1, 0)
    assert "checksum" in report.problems()[0]["problem"]


def test_missing_parts_and_broken_meta_are_counted(shards: Path, tmp_path: Path) -> None:
    folder = copy_of(shards, tmp_path)
    damage(folder, 0, "meta.json")
    loader = lidar_loader(folder, batch_size=1, repeat=False, bad_sample_budget=1.0)
    assert len(list(loader)) == 7
    assert "meta.json" in loader.skip_report.problems()[0]["problem"]


def test_run_that_loses_everything_stops(shards: Path, tmp_path: Path) -> None:
    """Each crop is impossible: the run ends at once instead of looking for a good sample for ever."""
    with pytest.raises(DataError, match="24 merged columns.*crop_width 25"):
        next(iter(lidar_loader(shards, batch_size=1, crop_width=25)))


# ------------------------------------------------------------------------------------------------------- wrong input


def test_folders_that_are_not_shards(tmp_path: Path, shards: Path) -> None:
    with pytest.raises(DataError, match="no such folder.*absent"):
        lidar_loader(tmp_path / "absent", batch_size=1)
    with pytest.raises(DataError, match=r"no indexed shards.*cosmos-lidar prepare"):
        lidar_loader(tmp_path, batch_size=1)
    folder = copy_of(shards, tmp_path)
    shutil.rmtree(folder / ".nv-meta")
    with pytest.raises(DataError, match="not indexed"):
        lidar_loader(folder, batch_size=1)


def test_empty_split_is_named(shards: Path) -> None:
    with pytest.raises(DataError, match="split 'test' is empty.*valid: train, val"):
        lidar_loader(shards, "test", batch_size=1)


def test_cut_and_missing_shards_are_noticed_at_the_start(shards: Path, tmp_path: Path) -> None:
    folder = copy_of(shards, tmp_path)
    shard = folder / "train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"5000 bytes.*train-000001\.tar.*copy the folder again"):
        lidar_loader(folder, batch_size=1)
    shard.unlink()
    with pytest.raises(DataError, match=r"shard missing.*train-000001\.tar"):
        lidar_loader(folder, batch_size=1)


def test_shard_that_is_no_tar_ends_the_run_clearly(shards: Path, tmp_path: Path) -> None:
    folder = copy_of(shards, tmp_path)
    for shard in folder.glob("train-*.tar"):
        shard.write_bytes(b"\x07" * shard.stat().st_size)
    with pytest.raises(DataError, match="cosmos-lidar check"):
        list(lidar_loader(folder, batch_size=1, repeat=False))


def test_more_readers_than_samples_is_refused(shards: Path) -> None:
    with pytest.raises(UserError, match=r"8 samples in .* cannot be shared by 9 readers \(3 ranks of 3 workers\)"):
        lidar_loader(shards, batch_size=1, num_workers=3, rank=0, world_size=3)
    with pytest.raises(UserError, match="rank 2 of world_size 2"):
        lidar_loader(shards, batch_size=1, rank=2, world_size=2)


def test_sensors_whose_images_differ(tmp_path: Path) -> None:
    wide = replace(SENSOR, name="wide", columns=60)
    prepare_shards([tiny_clip("a", 4), tiny_clip("b", 4, wide)], tmp_path, PrepareOptions(split=(1,)))
    with pytest.raises(UserError, match=r"range images differ in columns: 48 in .*, 60 in .*wide\.yaml.*alike"):
        lidar_loader(tmp_path, batch_size=1)


@pytest.mark.parametrize(
    "options",
    [{"frame_mode": "reverse"}, {"crop": "left", "crop_width": 3}, {"frames_per_clip": 0}, {"crop": "center"}],
)
def test_impossible_options(options: dict) -> None:
    with pytest.raises(UserError):
        LidarTaskEncoder(SENSOR.format, **options)


def test_budget_must_be_a_share(shards: Path) -> None:
    with pytest.raises(UserError, match="bad_sample_budget 5"):
        lidar_loader(shards, batch_size=1, bad_sample_budget=5)


def test_shards_of_unknown_parts_are_read(shards: Path, tmp_path: Path) -> None:
    """Cameras may be added later: parts this version does not know do not disturb it."""
    import io
    import tarfile

    folder = copy_of(shards, tmp_path)
    manifest = read_manifest(folder)
    for number, shard in enumerate(manifest.shards):
        path = folder / shard.name
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}
        with tarfile.open(path, "w") as tar:
            for name, data in members.items():
                extra = {name.replace("meta.json", "front.mp4"): b"film"} if name.endswith("meta.json") else {}
                for member, content in {name: data, **extra}.items():
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        manifest.shards[number] = replace(shard, bytes=path.stat().st_size)
    write_manifest(folder, manifest)
    index_with_energon(folder, [shard.name for shard in manifest.shards])
    assert len(list(lidar_loader(folder, "val", batch_size=20))) == 1
