from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from cosmos_lidar.clips.sqlite_file import expect_tables, open_database
from cosmos_lidar.errors import DataError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a ?#%.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE numbers(value INTEGER)")
        database.execute("INSERT INTO numbers VALUES (7)")
        database.execute(
            "CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT * FROM n"
        )
        database.execute("CREATE VIRTUAL TABLE searched USING fts5(text)")
        database.commit()
    return path


def test_reading_changes_nothing(file):
    before, beside = file.read_bytes(), sorted(one.name for one in file.parent.iterdir())
    file.chmod(0o444)
    with open_database(file, "numbers") as database:
        assert database.execute("SELECT value FROM numbers").fetchall() == [(7,)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            database.execute("DELETE FROM numbers")
    assert file.read_bytes() == before
    assert sorted(one.name for one in file.parent.iterdir()) == beside


def test_views_and_virtual_tables_are_no_tables(file):
    with open_database(file, "numbers") as database:
        expect_tables(database, ("numbers",))
    for name, problem in (
        ("endless", "endless is no plain table"),
        ("searched", "searched is no"),
        ("x", "no table x"),
    ):
        with pytest.raises(DataError, match=f"not readable: {problem}.*Expected: numbers"):
            with open_database(file, "numbers", "c") as database:
                expect_tables(database, (name,))


def test_errors_in_the_block_name_file_and_clip(file):
    with pytest.raises(DataError, match="no such column: other.*clip c"):
        with open_database(file, "numbers", "c") as database:
            database.execute("SELECT other FROM numbers")


@pytest.mark.parametrize("content", [b"", b"no database" * 100])
def test_other_files(tmp_path, content):
    (tmp_path / "a.db").write_bytes(content)
    for path in (tmp_path / "a.db", tmp_path / "none.db"):
        with pytest.raises(DataError, match="not readable"):
            with open_database(path, "numbers") as database:
                expect_tables(database, ("numbers",))
