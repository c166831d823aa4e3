from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.clips.split_files import is_split_file, read_list, read_split_file, split_identity
from cosmos_lidar.errors import DataError

LOG, OTHER = "2021.05.12.19.36.12_veh-35_00005_00204", "2021.10.06.08.16.17_veh-52_00032_00170"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_lists_of_clip_ids(tmp_path: Path) -> None:
    lines = f"\n  clip_1.tar\nsegment-2_with.camera.tfrecord\n{LOG}\n{OTHER}.db\n\n08\n"
    assert read_list(written(tmp_path / "a.lst", lines)) == [
        "clip_1",
        "segment-2_with",
        "2021_05_12_19_36_12_veh-35_00005_00204",
        "2021_10_06_08_16_17_veh-52_00032_00170_db",
        "08",
    ]
    with pytest.raises(DataError, match=r"cannot be read.*absent\.lst.*a text file of clip ids"):
        read_list(tmp_path / "absent.lst")


def test_the_form_of_nuplan_devkit(tmp_path: Path) -> None:
    text = "_target_: nuplan.planning.training.data_loader.log_splitter.LogSplitter\n_convert_: 'all'\n\nlog_splits:\n"
    text += f"  train:\n    - {LOG}\n  val:\n    - {OTHER}\n  test: []\n"
    assert read_split_file(written(tmp_path / "nuplan.yaml", text)) == {LOG: "train", OTHER: "val"}


def test_the_form_of_navsim(tmp_path: Path) -> None:
    text = f"train_logs:\n  - {LOG}\n\nval_logs:\n  - {OTHER}\n\ntest_logs:\n"
    assert read_split_file(written(tmp_path / "a.yml", text)) == {LOG: "train", OTHER: "val"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\n", "no lists of logs.*log_splits: .train"),
        ("log_splits: [a]\n", "no lists of logs"),
        ("log_splits: {train: [a], validation: [b]}\n", "unknown split 'validation'.*train, val, test"),
        ("log_splits: {train: a}\n", "split train is no list of names"),
        ("log_splits: {train: [12]}\n", "split train is no list of names"),
        ("train_logs: [{a: b}]\n", "split train is no list of names"),
        ("train_logs: [a]\nval_logs: [a]\n", "log a is in train and in val.*every log in one split"),
        ("train_logs: []\n", "the lists have no log"),
        ("- a\n", "not a mapping"),
        ("log_splits: !!python/object/apply:os.system ['true']\n", "cannot be read"),
        ("\x00", "cannot be read"),
    ],
)
def test_what_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=problem):
        read_split_file(written(tmp_path / "a.yaml", text))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.yaml"):
        read_split_file(tmp_path / "absent.yaml")


def test_fingerprints_keep_the_logs_and_not_the_place(tmp_path: Path) -> None:
    assert (split_identity("nuscenes"), split_identity("")) == ("nuscenes", "")
    assert is_split_file("a/nuplan.yaml")
    assert not is_split_file("nuplan_navsim")
    one = written(tmp_path / "a.yaml", "log_splits: {train: [a], val: [b]}\n")
    same = written(tmp_path / "b.yml", "val_logs: [b]\ntrain_logs: [a]\n")
    other = written(tmp_path / "c.yaml", "log_splits: {train: [b], val: [a]}\n")
    assert split_identity(str(one)) == split_identity(str(same)) != split_identity(str(other))
