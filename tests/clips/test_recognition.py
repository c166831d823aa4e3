from __future__ import annotations

import importlib
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import find_readers, open_clips, readers
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.recognition import Strength, look_alike, strength_of
from cosmos_lidar.errors import DataError
from tests.clips.readers.example_trees import all_trees, example_trees

TREES = all_trees()
TRUCKS = ("trucks/v1.1-mini/ego_motion_cabin.json", "trucks/v1.1-mini/sample_data.json", "trucks/000000.bin")


def write(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        np.ones((5, 4), "<f4").tofile(root / name)
    return root


def strengths(path: Path) -> dict[str, Strength]:
    return {name: strength_of(reader.recognise(path)) for name, reader in find_readers().items()}


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("tree", TREES, ids=lambda tree: f"{tree.reader}-{tree.number}")
def test_every_reader_recognises_its_own_layouts_and_no_other_does_as_surely(tree, optional, tmp_path):
    found = strengths(tree.write(tmp_path, optional))
    assert found[tree.reader] == (Strength.GENERIC if tree.generic else Strength.EXACT)
    assert [name for name, strength in found.items() if strength >= found[tree.reader]] == [tree.reader]


def test_every_reader_has_a_layout_of_its_own():
    assert {tree.reader for tree in TREES if not tree.generic} == set(find_readers())


@pytest.mark.parametrize(
    ("dataset", "names", "below"),
    [
        ("TruckScenes", TRUCKS, ""),
        ("TruckScenes", TRUCKS, "trucks"),
    ],
)
def test_a_dataset_that_nothing_reads_is_named_instead_of_read_wrongly(dataset, names, below, tmp_path):
    path = write(tmp_path, names) / below
    assert max(strengths(path).values()) < Strength.EXACT
    assert look_alike(path) == dataset
    with pytest.raises(DataError, match=f"looks like {dataset}|its names are those of {dataset}"):
        open_clips(path)


def test_a_format_that_is_asked_for_is_taken(tmp_path):
    path = write(tmp_path, TRUCKS) / "trucks"
    with pytest.raises(DataError, match="looks like TruckScenes, for which there is no reader.*--format kitti reads"):
        open_clips(path)
    (clip,) = open_clips(path, format="kitti")
    assert (clip.clip_id, len(clip.points(0))) == ("trucks", 5)
    with pytest.raises(DataError, match="not recognized as release; its names are those of TruckScenes"):
        open_clips(path, format="release")


def test_bare_scans_are_read_with_a_remark(tmp_path, caplog):
    (clip,) = open_clips(write(tmp_path, ("000000.bin",)))
    assert "by the kind of its files alone and read as kitti: float32 x y z reflectance" in clip.notes[0]
    assert clip.notes[0] in caplog.text
    assert not any("kind of its files" in note for note in open_clips(tmp_path, format="kitti")[0].notes)


@pytest.fixture
def add_reader(tmp_path, monkeypatch):
    """Return a function that makes one file a reader, as a user of the installed package would."""
    folder = tmp_path / "own_readers"
    folder.mkdir()
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(folder)])

    def add(name: str, answer: str) -> None:
        (folder / f"{name}.py").write_text(
            "import numpy as np\n"
            "from pathlib import Path\n"
            "from cosmos_lidar.clips import Sweep, one_lidar_clip\n"
            "from cosmos_lidar.clips.recognition import Strength\n"
            "from cosmos_lidar.sensors import load_sensor\n"
            f"DESCRIPTION = 'logs of {name}'\n"
            "EXAMPLE_LAYOUT = 'a.mine'\n"
            f"def recognise(path): return {answer}\n"
            "def open_clips(path, sensor=None, on_error=None):\n"
            "    times = np.array([[0, 100_000]])\n"
            "    sensor = sensor or load_sensor('uniform64')\n"
            f"    return [one_lidar_clip('c', sensor, ('0',), times, read, path, '{name}')]\n"
            "def read(index): return Sweep(points=np.ones((3, 3), np.float32))\n"
        )
        importlib.invalidate_caches()

    return add


def test_one_file_is_a_reader(add_reader, tmp_path):
    add_reader("mine", "Strength.EXACT if path.suffix == '.mine' else Strength.NONE")
    (tmp_path / "a.mine").write_bytes(b"log")
    (clip,) = open_clips(tmp_path / "a.mine")
    assert (clip.format, len(clip.points(0)), clip.notes) == ("mine", 3, ())


def test_the_strongest_reader_wins_and_ties_are_for_the_user(add_reader, tmp_path):
    write(tmp_path / "scans", ("000000.bin",))
    add_reader("exact", "Strength.EXACT if path.name == 'scans' else Strength.NONE")
    assert open_clips(tmp_path / "scans")[0].format == "exact"
    add_reader("of_before", "path.name == 'scans'")  # True, as readers said before there were strengths
    with pytest.raises(DataError, match="more than one reader recognizes this: exact, of_before.*--format with one of"):
        open_clips(tmp_path / "scans")
    assert open_clips(tmp_path / "scans", format="of_before")[0].format == "of_before"
    assert open_clips(tmp_path / "scans", format="kitti")[0].format == "kitti"


def test_two_generic_readers_tie(add_reader, tmp_path):
    write(tmp_path / "scans", ("000000.bin",))
    add_reader("other", "Strength.GENERIC if path.name == 'scans' else Strength.NONE")
    with pytest.raises(DataError, match="more than one reader recognizes this: kitti, other"):
        open_clips(tmp_path / "scans")


def test_the_reader_in_the_documentation_works(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "recordings.md").read_text(encoding="utf-8")
    folder = tmp_path / "own_readers"
    folder.mkdir()
    (folder / "my_logs.py").write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], encoding="utf-8")
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(folder)])
    importlib.invalidate_caches()
    (log,) = example_trees("my_logs", find_readers()["my_logs"])
    log.write(tmp_path / "logs")
    (tmp_path / "logs" / "drive_01" / "000000.xyz").write_text("10 1 0.5\n9 2 0\n")
    (clip,) = open_clips(tmp_path / "logs")
    assert (clip.clip_id, clip.format) == ("drive_01", "my_logs")
    assert clip.points(0).tolist() == [[10.0, 1.0, 0.5], [9.0, 2.0, 0.0]]
    assert check_clip(pickle.loads(pickle.dumps(clip))).problems == ()
    assert [name for name, strength in strengths(tmp_path / "logs").items() if strength] == ["my_logs"]


def test_strengths_of_answers():
    assert [strength_of(answer) for answer in (False, True, 0, 1, Strength.EXACT)] == [0, 2, 0, 1, 2]


def test_other_names_are_no_dataset(tmp_path):
    assert look_alike(write(tmp_path, ("a/b/000000.bin", "c/x.zip"))) is None
    assert look_alike(tmp_path / "a" / "b" / "000000.bin") is None
