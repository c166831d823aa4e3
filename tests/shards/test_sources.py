"""``data.path`` as a text: one folder, several, weights, a metadataset; what is missing or does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger
from cosmos_lidar.shards import energon_index
from cosmos_lidar.shards.sources import Sources, describe, folders_of, resolve
from tests.shards.energon_folders import index, metadataset


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    index(tmp_path / "a", train=30, val=5)
    index(tmp_path / "b", train=10, val=3)
    index(tmp_path / "plain", None, train=4)
    index(tmp_path / "latents", "latents", train=4)
    return tmp_path


def flat(sources: Sources) -> list[tuple[str, float, int]]:
    return [(part.folder.name, round(part.reference.amount, 6), part.samples) for part in sources.parts]


def test_one_folder(folders: Path) -> None:
    sources = resolve(folders / "a", "train")
    assert (sources.blend, flat(sources), sources.samples) == ("none", [("a", 1.0, 30)], 30)
    assert resolve(str(folders / "a"), "val").samples == 5
    assert resolve(f"[{folders / 'a'}]", "val").blend == "none"


@pytest.mark.parametrize("form", ["{0}/a,{0}/b", "[{0}/a, {0}/b]", "['{0}/a', \"{0}/b\"]"])
def test_several_folders_count_by_their_samples(folders: Path, form: str) -> None:
    sources = resolve(form.format(folders), "train")
    assert (sources.blend, flat(sources), sources.samples) == ("repetitions", [("a", 1, 30), ("b", 1, 10)], 40)
    assert flat(resolve([folders / "a", folders / "b"], "train")) == flat(sources)
    assert sources.folders == [folders / "a", folders / "b"]


def test_weights_before_folders(folders: Path) -> None:
    sources = resolve(f"3,{folders}/a,1,{folders}/b", "train")
    assert (sources.blend, flat(sources)) == ("weights", [("a", 0.75, 30), ("b", 0.25, 10)])
    assert list(describe(sources)) == [f"{folders}/a: 30 samples of split train, weight 0.75",
                                       f"{folders}/b: 10 samples of split train, weight 0.25"]  # fmt: skip


def test_a_metadataset_alone_and_among_folders(folders: Path) -> None:
    mix = metadataset(
        folders / "mix.yaml",
        """\
  train:
    blend_epochized: [{path: a, repetitions: 2}, {path: b, subset: {range: [0%, 50%]}}]
  val:
    path: a
    split_part: train
""",
    )
    sources = resolve(mix, "train")
    assert (sources.blend, flat(sources)) == ("repetitions", [("a", 2, 30), ("b", 1, 5)])
    assert resolve(mix, "val").blend == "none"
    assert flat(resolve(mix, "val")) == [("a", 1, 30)]
    assert flat(resolve(f"{mix},{folders}/plain", "train")) == [("a", 2, 30), ("b", 1, 5), ("plain", 1, 4)]
    assert folders_of(f"{mix},{folders}/plain") == [folders / "a", folders / "b", folders / "plain"]
    with pytest.raises(UserError, match=r"mix\.yaml blends by repetitions.*by weights"):
        resolve(f"1,{mix},1,{folders}/plain", "train")


def test_names_with_commas_and_numbers_are_folders(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folders)
    index(folders / "x,y", train=2)
    index(folders / "7", train=2)
    assert flat(resolve("x,y", "train")) == [("x,y", 1.0, 2)]
    assert flat(resolve("7,b", "train")) == [("7", 1, 2), ("b", 1, 10)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a folder of shards"),
        ("{0}/a,", "expected a folder of shards"),
        ("s3://bucket/shards", "remote path"),
        ("{0}/a,msc://profile/x", "msc://profile/x is a remote path"),
        ("0,{0}/a,1,{0}/b", "weight 0 of .*expected a number above 0"),
        ("nan,{0}/a", "weight nan"),
        ("{0}/a,0.5,{0}/b", "expected a weight before each folder"),
        ("0.5,{0}/a,{0}/b", "expected a weight before each folder"),
    ],
)
def test_texts_that_say_nothing(folders: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve(text.format(folders), "train")


def test_folders_that_cannot_be_opened(folders: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder \[file .*absent\].*cosmos-lidar prepare"):
        resolve(f"{folders}/a,{folders}/absent", "train")
    (folders / "empty").mkdir()
    with pytest.raises(DataError, match=r"no indexed shards \[file .*empty\]"):
        resolve(folders / "empty", "train")
    (folders / "empty" / "prepare.journal.jsonl").touch()
    with pytest.raises(DataError, match="was not finished here"):
        resolve(folders / "empty", "train")
    (folders / "empty" / "manifest.json").touch()
    with pytest.raises(DataError, match="not indexed"):
        resolve(folders / "empty", "train")
    with pytest.raises(DataError, match="split 'test' is empty.*valid: train, val"):
        resolve(f"{folders}/a", "test")
    mix = metadataset(folders / "mix.yaml", "  train: {path: absent}\n  val: {path: a, subset: {range: [2, 9]}}\n")
    with pytest.raises(DataError, match=r"no such folder \(named in .*mix\.yaml\)"):
        resolve(mix, "train")
    with pytest.raises(DataError, match=r"samples 2 to 9 of the 5 in .*a \[file .*mix\.yaml, key subset\]"):
        resolve(mix, "val")


def test_folders_of_another_sample_type(
    folders: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    with pytest.raises(DataError, match=r"samples of type 'latents' \[file .*latents/.nv-meta/dataset.yaml"):
        resolve(f"{folders}/a,{folders}/latents", "train").expect("lidar")
    with caplog.at_level("INFO", "cosmos_lidar"):
        resolve(f"{folders}/a,{folders}/plain", "train").expect("lidar")
    assert "plain: dataset.yaml has no sample_type; reading 'lidar' samples" in caplog.text
    images = "sample_type: {__module__: megatron.energon, __class__: ImageSample}\nfield_map: {image: mp4}\n"
    index(folders / "films", dataset=images, train=2)
    with pytest.raises(DataError, match="samples of type 'ImageSample'.*valid: lidar"):
        resolve(folders / "films", "train").expect("lidar")
    with pytest.raises(DataError, match="valid: points, as `cosmos-lidar prepare SRC OUT --task points` writes them"):
        resolve(folders / "films", "train").expect("points")
    resolve(folders / "films", "train").expect("video", typed=["ImageSample"])


def test_energons_older_and_hand_made_indexes(folders: Path) -> None:
    meta = folders / "a" / ".nv-meta"
    (meta / ".info.json").unlink()
    (meta / ".info.yaml").write_text("shard_counts: {x0.tar: 3, x1.tar: 4, x2.tar: 5}\n")
    (meta / "split.yaml").write_text("split_parts: {train: ['x{0..2}.tar']}\nexclude: [x1.tar, x2.tar/7]\n")
    assert resolve(folders / "a", "train").samples == 8
    (meta / "split.yaml").rename(meta / "split.json")
    (meta / "split.json").write_text('{"split_parts": {"train": ["x0.tar"]}}')
    assert resolve(folders / "a", "train").samples == 3


@pytest.mark.parametrize(
    "pattern",
    ["train-{0..999999999}.tar", "{0..99999999999999999999}", "{0..99999999..7}.tar", "{a,b}" * 40],
)
def test_braces_that_stand_for_billions_of_shards_are_refused(pattern: str, tmp_path: Path) -> None:
    folder = index(tmp_path / "shards", train=3)
    (folder / ".nv-meta" / "split.yaml").write_text(json.dumps({"split_parts": {"train": [pattern]}}))
    with pytest.raises(DataError, match="stands for more than 1000000 shards"):
        resolve(folder, "train")


def test_many_patterns_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energon_index, "_MOST_SHARDS", 1000)
    folder = index(tmp_path / "shards", train=3)
    patterns = [f"train{number}-{{0..99}}.tar" for number in range(20)]
    (folder / ".nv-meta" / "split.yaml").write_text(json.dumps({"split_parts": {"train": patterns}}))
    with pytest.raises(DataError, match="train10-.*stands for more than 1000 shards"):
        resolve(folder, "train")
