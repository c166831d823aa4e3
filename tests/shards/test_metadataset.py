"""Metadatasets flattened: weights, repetitions, nesting, splits and ranges as Energon has them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.metadataset import Reference, Subset, read_metadataset, splits_of
from tests.shards.energon_folders import metadataset


def flat(found: list[Reference]) -> list[tuple[str, str, float]]:
    return [(one.path.name, one.split, one.amount) for one in found]


def test_blends_with_weights_and_splits_of_their_own(tmp_path: Path) -> None:
    mix = metadataset(
        tmp_path / "mix.yaml",
        """\
  train:
    blend:
      - {path: a, weight: 3}
      - {path: ../elsewhere/b, weight: 1, split_part: all, subflavors: {weather: rain}}
  val:
    path: /data/c
    split_part: test
""",
    )
    blend, found = read_metadataset(mix, "train")
    assert blend == "weights"
    assert flat(found) == [("a", "train", 0.75), ("b", "all", 0.25)]
    assert found[1].path == tmp_path / "../elsewhere/b"
    assert found[1].subflavors == {"weather": "rain"}
    blend, found = read_metadataset(mix, "val")
    assert (blend, found[0].path, found[0].split, found[0].amount) == ("none", Path("/data/c"), "test", 1.0)
    assert splits_of(mix) == ["train", "val"]


def test_nested_blends_multiply(tmp_path: Path) -> None:
    metadataset(tmp_path / "inner.yaml", "  train:\n    blend: [{path: a, weight: 1}, {path: b, weight: 4}]\n")
    outer = metadataset(
        tmp_path / "outer.yaml",
        "  train:\n    blend: [{path: inner.yaml, weight: 6, subflavors: {from: x}}, {path: c, weight: 2}]\n",
    )
    blend, found = read_metadataset(outer, "train")
    assert blend == "weights"
    assert [(name, pytest.approx(weight)) for name, _, weight in flat(found)] == [("a", 0.15), ("b", 0.6), ("c", 0.25)]
    assert found[0].subflavors == {"from": "x"}

    metadataset(tmp_path / "often.yaml", "  test:\n    blend_epochized: [{path: a, repetitions: 3}, {path: b}]\n")
    outer = metadataset(
        tmp_path / "outer.yaml",
        "  train:\n    blend_epochized: [{path: often.yaml, repetitions: 2, split_part: test}, {path: c}]\n",
    )
    assert read_metadataset(outer, "train")[0] == "repetitions"
    assert flat(read_metadataset(outer, "train")[1]) == [("a", "test", 6), ("b", "test", 2), ("c", "train", 1)]


def test_version_1(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("splits:\n  train:\n    datasets: [{path: a}, {path: b, weight: 3}]\n")
    blend, found = read_metadataset(tmp_path / "old.yaml", "train")
    assert (blend, flat(found)) == ("weights", [("a", "train", 0.25), ("b", "train", 0.75)])


def test_ranges_of_samples(tmp_path: Path) -> None:
    mix = metadataset(
        tmp_path / "mix.yaml",
        """\
  train:
    blend_epochized:
      - {path: a, subset: {range: [10, end]}}
      - {path: b, subset: {range: [25%, 75%]}}
    subset: {range: [0%, 50%]}
""",
    )
    first, second = (one.subset for one in read_metadataset(mix, "train")[1])
    assert first == Subset(first=10, share=(0.0, 0.5))
    assert first.bounds(30) == (10, 20)
    assert second.bounds(100) == (25, 50)


@pytest.mark.parametrize(
    ("splits", "key", "said"),
    [
        ("  train:\n    join: [{path: a}]\n    joiner: {__module__: os, __class__: x}\n", "splits.train.join", "code"),
        ("  train:\n    blend: [{join: [{path: a}], joiner: {}}]\n", "splits.train.blend[0].join", "code"),
        ("  train: {path: a, sample_loader: x.py}\n", "splits.train.sample_loader", "x.py"),
        ("  train: {path: a, aux: {b: b}}\n", "splits.train.aux", "not accepted"),
        ("  train: {path: a, subflavors: {x: {__module__: os}}}\n", "splits.train.subflavors.x", "os"),
        ("  train: {path: a, dataset_config: ../../evil.yaml}\n", "splits.train.dataset_config", "../../evil.yaml"),
        ("  train: {path: 's3://bucket/a'}\n", "splits.train.path", "remote path s3://bucket/a"),
        ("  train: {path: 'msc://profile/a'}\n", "splits.train.path", "remote path"),
        ("  train: {}\n", "splits.train.path", "missing"),
        ("  train: {blend: []}\n", "splits.train.blend", "[]"),
        ("  train: {blend: [{path: a, weight: 0}]}\n", "splits.train.blend[0].weight", "0"),
        ("  train: {blend: [{path: a, weight: true}]}\n", "splits.train.blend[0].weight", "True"),
        ("  train: {blend: [{path: a, weight: .nan}]}\n", "splits.train.blend[0].weight", "nan"),
        ("  train: {blend: [{path: a, weigt: 2}]}\n", "splits.train.blend[0].weigt", "2"),
        ("  train: {blend: [{path: a, repetitions: 2}]}\n", "splits.train.blend[0].repetitions", "2"),
        ("  train: {blend: [{path: a, weight: 2}], seed: 1}\n", "splits.train.seed", "1"),
        ("  train: {path: a, subset: {range: [75%, 25%]}}\n", "splits.train.subset", "75%"),
        ("  train: {path: a, subset: {range: [0, 50%]}}\n", "splits.train.subset", "50%"),
        ("  train: {path: a, shuffle_over_epochs_multiplier: 0}\n", "splits.train.shuffle_over_epochs_multiplier", "0"),
        ("  train: {path: nested.yaml}\n", None, "nested.yaml"),
        ("  val: {path: a}\n", "splits", "no split 'train'"),
        ("  train: [a]\n", "splits", "['a']"),
    ],
)
def test_what_is_not_accepted_is_named(tmp_path: Path, splits: str, key: str | None, said: str) -> None:
    with pytest.raises(DataError) as error:
        read_metadataset(metadataset(tmp_path / "mix.yaml", splits), "train")
    assert error.value.key == key
    assert said in str(error.value)
    assert ".yaml" in str(error.value.file)


def test_a_misspelled_key_is_hinted_at(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean weight"):
        read_metadataset(metadataset(tmp_path / "m.yaml", "  train: {blend: [{path: a, weigt: 2}]}\n"), "train")


def test_a_class_that_is_not_energons_own(tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text("__module__: os\n__class__: system\nsplits: {train: {path: a}}\n")
    with pytest.raises(DataError, match=r"__module__: 'os' is not accepted.*valid: megatron.energon"):
        read_metadataset(tmp_path / "mix.yaml", "train")


def test_mixed_kinds_of_blends_and_circles(tmp_path: Path) -> None:
    metadataset(tmp_path / "weights.yaml", "  train:\n    blend: [{path: a}]\n")
    mixed = metadataset(tmp_path / "mixed.yaml", "  train:\n    blend_epochized: [{path: weights.yaml}]\n")
    with pytest.raises(DataError, match="weights.yaml blends by weights, this list by repetitions"):
        read_metadataset(mixed, "train")
    circle = metadataset(tmp_path / "circle.yaml", "  train: {path: circle.yaml}\n")
    with pytest.raises(DataError, match="without circles"):
        read_metadataset(circle, "train")
    metadataset(tmp_path / "inner.yaml", "  train:\n    blend: [{path: a}, {path: b}]\n")
    numbered = metadataset(tmp_path / "numbered.yaml", "  train: {path: inner.yaml, subset: {range: [0, 5]}}\n")
    with pytest.raises(DataError, match="numbered samples of a blend"):
        read_metadataset(numbered, "train")
