"""One folder, several, and blends, for every sample type: what is drawn, exact resume, ranks, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("megatron.energon")
pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

from cosmos_lidar.errors import DataError, UserError  # noqa: E402
from cosmos_lidar.log import logger  # noqa: E402
from cosmos_lidar.sensors.sensor import uniform_sensor  # noqa: E402
from cosmos_lidar.shards.sources import resolve  # noqa: E402
from tests.energon_tasks.energon_commands import energon_prepare  # noqa: E402
from tests.energon_tasks.mixes import KINDS, REPEATED, open_loader, signature, take, write  # noqa: E402
from tests.shards.energon_folders import metadataset  # noqa: E402
from tests.workers.client import python  # noqa: E402

SPLITS = {
    "weights": "  {split}:\n    blend: [{{path: a, weight: 3}}, {{path: b, weight: 1}}]\n",
    "repetitions": "  {split}:\n    blend_epochized: [{{path: a}}, {{path: b, repetitions: 2}}]\n",
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each sample type a folder ``a`` of 5 samples and one ``b`` of 3, and metadatasets of both."""
    root = tmp_path_factory.mktemp("mixes")
    for kind in KINDS:
        (root / kind).mkdir()
        for name, samples in (("a", 5), ("b", 3)):
            write(kind, root / kind / name, name, samples)
        for blend, text in SPLITS.items():
            splits = "".join(text.format(split=split) for split in ("train", "val"))
            metadataset(root / kind / f"{blend}.yaml", splits)
    return root


def keys(loader: Any) -> list[str]:
    return [key for batch in loader for key in batch.__key__]


# The loaders of all sample types share their splits: latents alone run in the fast tests.
ONE_FAST = [pytest.param(kind, marks=[] if kind == "latents" else pytest.mark.slow) for kind in REPEATED]


def several(folders: Path, kind: str) -> str:
    return f"{folders / kind / 'a'},{folders / kind / 'b'}"


# ------------------------------------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("kind", ONE_FAST)
def test_an_epoch_of_several_folders_has_every_sample_once(folders: Path, kind: str) -> None:
    drawn = keys(open_loader(kind, several(folders, kind), repeat=False))
    assert len(drawn) == len(set(drawn)) == 8
    again = keys(open_loader(kind, [folders / kind / "a", folders / kind / "b"], repeat=False))
    assert again == drawn
    repeated = Counter(keys(open_loader(kind, folders / kind / "repetitions.yaml", repeat=False)))
    assert sorted(repeated.values()) == [1] * 5 + [2] * 3


@pytest.mark.parametrize("kind", ONE_FAST)
def test_two_ranks_share_an_epoch(folders: Path, kind: str) -> None:
    for path in (several(folders, kind), str(folders / kind / "a")):
        ranks = [keys(open_loader(kind, path, repeat=False, rank=rank, world_size=2)) for rank in (0, 1)]
        assert all(ranks)
        assert not set(ranks[0]) & set(ranks[1])
        assert sorted(ranks[0] + ranks[1]) == sorted(keys(open_loader(kind, path, repeat=False)))


def test_weights_decide_how_often_a_folder_is_drawn(folders: Path) -> None:
    mix = folders / "latents" / "weights.yaml"
    first = Counter(clip[0][0] for clip in take(open_loader("latents", mix), 800))
    assert 0.7 < first["a"] / 800 < 0.8
    equal = f"1,{folders}/latents/a,1,{folders}/latents/b"
    assert 0.45 < Counter(clip[0][0] for clip in take(open_loader("latents", equal), 800))["a"] / 800 < 0.55
    by_size = Counter(clip[0] for clip in take(open_loader("latents", several(folders, "latents")), 800))
    assert len(by_size) == 8
    assert all(abs(count - 100) <= 3 for count in by_size.values())  # what the shuffle buffer holds back
    with pytest.raises(UserError, match="blends by weights, which have no end"):
        open_loader("latents", mix, repeat=False)


@pytest.mark.parametrize("kind", ONE_FAST)
def test_validation_reads_all_folders_once_and_a_limit_leaves_none_out(folders: Path, kind: str) -> None:
    for path in (several(folders, kind), folders / kind / "weights.yaml", folders / kind / "repetitions.yaml"):
        loader = open_loader(kind, path, "val")
        first = [signature(batch) for batch in loader]
        assert len({one[0] for one in first}) == 4
        assert first == [signature(batch) for batch in loader]
        few = keys(open_loader(kind, path, "val", limit=2))
        assert sorted(key[0] for key in few) == ["a", "b"]


def test_weights_and_ranges_are_those_that_energon_computes(folders: Path) -> None:
    from megatron.energon import WorkerConfig
    from megatron.energon.metadataset import load_dataset

    root = folders / "latents"
    outer = metadataset(
        root / "outer.yaml",
        "  train:\n    blend: [{path: inner.yaml, weight: 4, split_part: all, subset: {range: [0%, 50%]}},"
        " {path: b, split_part: val}]\n",
    )
    metadataset(root / "inner.yaml", "  all:\n    blend: [{path: a, split_part: train, weight: 2}, "
                "{path: b, split_part: train, subset: {range: [1, end]}}]\n")  # fmt: skip
    workers = WorkerConfig(rank=0, world_size=1, num_workers=0)
    theirs = load_dataset(outer).get_datasets(training=True, split_part="train", worker_config=workers)
    mine = resolve(outer, "train")
    assert (mine.blend, theirs.blend_mode.value) == ("weights", "dataset_weight")
    assert [part.reference.amount for part in mine.parts] == pytest.approx([one.weight for one in theirs.datasets])
    assert [str(part.folder) for part in mine.parts] == [str(one.dataset.path) for one in theirs.datasets]
    for part, one in zip(mine.parts, theirs.datasets, strict=True):
        total, subset = len(one.dataset), one.dataset.subset
        assert part.bounds == (subset.compute_subset(total) if subset else (0, total))
    assert [part.samples for part in mine.parts] == [2, 1, 2]
    assert {key[0] for key in keys(open_loader("latents", f"{root}/outer.yaml", limit=3, training=False))} == {"a", "b"}


# --------------------------------------------------------------------------------------------------------- resume


@pytest.mark.parametrize("blend", ["weights", "repetitions"])
@pytest.mark.parametrize("kind", ONE_FAST)
def test_a_resumed_blend_goes_on_with_the_very_next_sample(folders: Path, kind: str, blend: str) -> None:
    """At any place: inside an epoch, at its end, and after it; sweeps in the middle of a sample, too."""
    options = {"frames_per_clip": 3, "batch_size": 2} if kind == "sweeps" else {}
    path = folders / kind / f"{blend}.yaml"
    whole = take(open_loader(kind, path, **options), 30)
    assert len(set(whole)) > 15
    for stop in (1, 7, 10, 11, 12, 13, 20):
        loader = open_loader(kind, path, **options)
        stream = iter(loader)
        assert [signature(next(stream)) for _ in range(stop)] == whole[:stop]
        resumed = open_loader(kind, path, **options)
        resumed.restore_state_rank(loader.save_state_rank())
        assert take(resumed, 30 - stop) == whole[stop:], stop


RESUME = """
import json, os, sys, warnings
warnings.filterwarnings("ignore")
from pathlib import Path
from tests.energon_tasks.mixes import REPEATED, open_loader, take

found = {}
for kind in REPEATED:
    for blend in ("weights", "repetitions"):
        options = {"num_workers": 2, "batch_size": 2} | ({"frames_per_clip": 3} if kind == "sweeps" else {})
        path = Path(sys.argv[1]) / kind / f"{blend}.yaml"
        whole = take(open_loader(kind, path, **options), 13)
        first_half = open_loader(kind, path, **options)
        first = take(first_half, 5)
        resumed = open_loader(kind, path, **options)
        resumed.restore_state_rank(first_half.save_state_rank())
        found[f"{kind} {blend}"] = [whole, first + take(resumed, 8)]
print(json.dumps(found), flush=True)
os._exit(0)  # an endless loader takes 5 s per worker to be torn down
"""


@pytest.mark.slow
def test_a_resumed_blend_of_two_workers(folders: Path) -> None:
    done = python("-c", RESUME, folders, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 2 * len(REPEATED)
    for name, (whole, resumed) in found.items():
        assert resumed == whole, name
        assert len({json.dumps(batch) for batch in whole}) > 6


def test_a_state_of_other_data_is_said_and_left_alone(
    folders: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    loader = open_loader("latents", folders / "latents" / "weights.yaml")
    take(loader, 3)
    for path in (folders / "latents" / "a", several(folders, "latents")):
        other = open_loader("latents", path)
        other.restore_state_rank(loader.save_state_rank())
        assert take(other, 4) == take(open_loader("latents", path), 4)
    warned = {record.getMessage() for record in caplog.records if record.levelname == "WARNING"}
    assert len(warned) == 2
    assert all("is not what the checkpoint was trained on" in text for text in warned)
    moved = folders / "latents" / "moved"
    shutil.copytree(folders / "latents" / "a", moved)
    before = open_loader("latents", folders / "latents" / "a")
    take(before, 3)
    after = open_loader("latents", moved)
    after.restore_state_rank(before.save_state_rank()["energon"])  # as checkpoints had it before blends
    assert take(after, 4) == take(open_loader("latents", moved), 7)[3:]


# ---------------------------------------------------------------------------------------------- folders and files


@pytest.mark.parametrize("kind", ONE_FAST)
def test_a_folder_that_plain_energon_prepared(folders: Path, kind: str, tmp_path: Path) -> None:
    """The tars alone, without a manifest of ours, and no sample_type in what Energon writes."""
    for tar in (folders / kind / "a").glob("*.tar"):
        shutil.copy(tar, tmp_path / tar.name)
    parts = ("--split-parts", "train:train-.*", "--split-parts", "val:val-.*")
    energon_prepare(tmp_path, *parts, "--sample-type", "CrudeWebdataset")
    assert "sample_type" not in (tmp_path / ".nv-meta" / "dataset.yaml").read_text()
    if kind == "views":
        with pytest.raises(UserError, match=r"neither views\.json nor sensor\.yaml"):
            open_loader(kind, tmp_path)
        shutil.copy(folders / kind / "a" / "sensor.yaml", tmp_path)
    if kind == "sweeps":
        with pytest.raises(UserError, match=r"sensors/small\.yaml: no such sensor file"):
            open_loader(kind, tmp_path)
        shutil.copytree(folders / kind / "a" / "sensors", tmp_path / "sensors")
    assert take(open_loader(kind, tmp_path), 12) == take(open_loader(kind, folders / kind / "a"), 12)
    assert len(keys(open_loader(kind, f"{tmp_path},{folders / kind / 'b'}", repeat=False))) == 8


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_name_code_are_refused_before_it_runs(folders: Path, kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(folders / kind / "a", folder)
    (folder / ".nv-meta" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\npart_filter = print\n")
    yaml = folder / ".nv-meta" / "dataset.yaml"
    good = yaml.read_text()
    yaml.write_text(good + "part_filter: evil.py\n")
    with pytest.raises(DataError, match=r"part_filter: 'evil.py' is not accepted \[file .*dataset\.yaml"):
        open_loader(kind, f"{folders / kind / 'b'},{folder}")
    yaml.write_text(good)
    (folder / ".nv-meta" / "other.yaml").write_text(good + "part_filter: evil.py\n")
    mix = metadataset(tmp_path / "mix.yaml", "  train: {path: bad, dataset_config: other.yaml}\n")
    with pytest.raises(DataError, match=r"other\.yaml, key part_filter"):
        open_loader(kind, mix)
    assert not (tmp_path / "ran").exists()


def test_sample_types_are_not_mixed_up(folders: Path) -> None:
    for kind, other in zip(KINDS, KINDS[1:] + KINDS[:1], strict=True):
        with pytest.raises(DataError, match=r"samples of type '.*' \[file .*dataset\.yaml, key sample_type\]"):
            open_loader(kind, f"{folders / kind / 'a'},{folders / other / 'b'}")


@pytest.mark.parametrize(
    ("kind", "changed", "said"),
    [
        ("sweeps", {"sensor": uniform_sensor(4, 64)}, r"range images differ in rows: 8 in .*/a/.*, 4 in .*/other/"),
        ("views", {"cameras": ("front", "rear")}, r"frames differ in cameras: \('front', 'left'\) in .*/a, .*/other"),
        ("views", {"width": 32}, r"frames differ in image_size: \(16, 24\) in .*/a, \(16, 32\) in .*/other"),
        ("latents", {"shape": (2, 1, 4, 8)}, r"latents differ in latent\.npy: \(2, 1, 4, 6\) in .*, \(2, 1, 4, 8\) in"),
    ],
)
def test_folders_that_contradict_each_other(
    folders: Path, tmp_path: Path, kind: str, changed: dict[str, Any], said: str
) -> None:
    write(kind, tmp_path / "other", "o", 3, **changed)
    with pytest.raises(UserError, match=said):
        open_loader(kind, f"{folders / kind / 'a'},{tmp_path / 'other'}")


def test_latents_of_other_tokenizers(tmp_path: Path) -> None:
    write("latents", tmp_path / "one", "a", 3, facts={"lidar_weights": "1234", "cameras": ["front"]})
    write("latents", tmp_path / "two", "b", 3, facts={"lidar_weights": "5678", "cameras": ["rear"]})
    with pytest.raises(UserError, match=r"latents differ in lidar_weights: 1234 in .*one, 5678 in .*two"):
        open_loader("latents", f"{tmp_path}/one,{tmp_path}/two")


def test_range_images_of_other_widths_may_be_cropped_together(folders: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.energon_tasks.mixes import SENSOR

    write("sweeps", tmp_path / "wide", "w", 3, sensor=replace(SENSOR, name="wide", columns=96))
    path = f"{folders}/sweeps/a,{tmp_path}/wide"
    assert {clip[1][0] for clip in take(open_loader("sweeps", path, crop_width=16), 8)} == {"a", "w"}
    with pytest.raises(UserError, match=r"range images differ in columns: 64 in .*, 96 in .*wide\.yaml"):
        open_loader("sweeps", path, crop_width=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_skipped_samples_are_counted_by_folder(folders: Path, tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(folders / "latents" / "b", folder)
    shard = folder / "train-000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"\x93NUMPY", b"\x93DUMMY", 1))
    path = f"{folders}/latents/a,{folder}"
    options = {"repeat": False, "num_workers": workers}
    loader = open_loader("latents", path, bad_sample_budget=0.5, **options)
    assert len(keys(loader)) == 7
    assert loader.skip_report.bad_by_folder() == {str(folder): 1}
    assert loader.skip_report.problems()[0]["folder"] == str(folder)
    with pytest.raises(DataError, match=rf"1 samples cannot be used, of 8.*\[file {folder}/train-000000\.tar"):
        keys(open_loader("latents", path, **options))


def test_more_readers_than_samples(
    folders: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    with pytest.raises(UserError, match=r"8 samples in .* cannot be shared by 9 readers \(9 ranks of 0 workers\)"):
        open_loader("latents", several(folders, "latents"), world_size=9)
    open_loader("latents", several(folders, "latents"), world_size=4)
    assert f"{folders}/latents/b: 3 samples for 4 readers" in caplog.text
