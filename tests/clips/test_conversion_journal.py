"""The journal of a conversion: what is finished stays so, what is torn or foreign is refused."""

from __future__ import annotations

import json

import pytest

from cosmos_lidar.clips.conversion_journal import JOURNAL, ConversionJournal, FinishedClip, make_folder
from cosmos_lidar.errors import DataError

ENTRY = FinishedClip("a", "state", 3, {"a.txt": 4}, {"images": "none"})


def test_entries_come_back(tmp_path) -> None:
    ConversionJournal(tmp_path, "ply").add(ENTRY)
    assert ConversionJournal(tmp_path, "ply").finished == {"a": ENTRY}


def test_the_last_entry_of_a_clip_counts(tmp_path) -> None:
    journal = ConversionJournal(tmp_path, "ply")
    for frames in (1, 2):
        journal.add(FinishedClip("a", "state", frames, {}))
    assert ConversionJournal(tmp_path, "ply").finished["a"].frames == 2


def test_a_line_cut_short_is_dropped(tmp_path) -> None:
    ConversionJournal(tmp_path, "ply").add(ENTRY)
    file = tmp_path / JOURNAL
    complete = file.read_text()
    file.write_text(complete + complete.splitlines()[1][:20])
    assert ConversionJournal(tmp_path, "ply").finished == {"a": ENTRY}
    assert file.read_text() == complete


def test_unchanged_are_those_of_the_same_state_whose_files_are_there(tmp_path) -> None:
    journal = ConversionJournal(tmp_path, "ply")
    journal.add(ENTRY)
    assert journal.unchanged(tmp_path, {"a": "state"}) == {}
    (tmp_path / "a.txt").write_text("four")
    assert journal.unchanged(tmp_path, {"a": "state"}) == {"a": ENTRY}
    assert journal.unchanged(tmp_path, {"a": "other"}) == {}
    (tmp_path / "a.txt").write_text("longer")
    assert journal.unchanged(tmp_path, {"a": "state"}) == {}


def test_what_is_no_journal_is_refused(tmp_path) -> None:
    good = json.dumps({"layout": "ply"}) + "\n"
    for text in ("", "[]\n", "{}\n", good + "{}\n", good + '{"clip": "a", "state": "s", "frames": 1, "files": []}\n'):
        (tmp_path / JOURNAL).write_text(text)
        with pytest.raises(DataError, match="no journal of convert-clips"):
            ConversionJournal(tmp_path, "ply")
    (tmp_path / JOURNAL).write_text(good)
    with pytest.raises(DataError, match="holds the layout 'ply', not pcd"):
        ConversionJournal(tmp_path, "pcd")


def test_a_folder_of_something_else_is_refused(tmp_path) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        ConversionJournal(tmp_path, "ply")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    with pytest.raises(DataError, match="this is a file"):
        make_folder(tmp_path / "photo.jpg")
    with pytest.raises(DataError, match="cannot be made"):
        make_folder(tmp_path / "photo.jpg" / "sub")
