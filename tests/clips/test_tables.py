from __future__ import annotations

import pytest

from cosmos_lidar.clips.tables import read_table
from cosmos_lidar.errors import DataError


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("1 2\n3 4\n", (), [("1", "2"), ("3", "4")]),
        ("1, 2\n\n3;4\n", (), [("1", "2"), ("3", "4")]),
        ("a,B\n1,2\n", ("a", "b"), [("1", "2")]),
        ("#timestamp [ns],filename\n1,a.png\n# end\n", ("timestamp_ns", "filename"), [("1", "a.png")]),
        ("# written by hand\n1\n2\n", (), [("1",), ("2",)]),
        ("2011-09-26 13:02:25.594360375\n2011-09-26 13:02:25.7\n", (),
         [("2011-09-26 13:02:25.594360375",), ("2011-09-26 13:02:25.7",)]),
    ],
)  # fmt: skip
def test_rows_and_names(text, names, rows, tmp_path):
    (tmp_path / "t.txt").write_text(text)
    table = read_table(tmp_path / "t.txt")
    assert table.names == names
    assert list(table.rows) == rows


def test_numbers(tmp_path):
    (tmp_path / "t.txt").write_text("1 2\n3 4e1\n")
    assert read_table(tmp_path / "t.txt").numbers().tolist() == [[1, 2], [3, 40]]
    (tmp_path / "t.txt").write_text("1 2\n3 nan\n")
    with pytest.raises(DataError, match=r"not finite .*t\.txt, clip c, key row 2"):
        read_table(tmp_path / "t.txt").numbers("c")


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "no row"), (b"a,b\n", "no row"), (b"1 2\n3\n", "row 2"), (b"\xff\xfe1", "not readable")],
)
def test_broken_tables_are_refused(content, problem, tmp_path):
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(DataError, match=problem):
        read_table(tmp_path / "t.txt")
