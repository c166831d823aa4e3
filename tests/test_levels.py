from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.levels import LEVELS, mark, matching

TESTS = Path(__file__).parent
PATTERNS = [(level, one) for level, groups in LEVELS.items() for patterns in groups.values() for one in patterns]


@cache
def functions(file: Path) -> list[str]:
    return [node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("level", LEVELS)
def test_patterns_name_tests_that_exist(level: str) -> None:
    for _, pattern in (one for one in PATTERNS if one[0] == level):
        file, _, test = pattern.partition("::")
        files = sorted(TESTS.glob(file))
        assert files, pattern
        names = {name for one in files for name in functions(one)}
        wanted = re.escape(test.partition("[")[0]).replace(r"\*", ".*")
        assert any(name.startswith("test_") and re.fullmatch(wanted, name) for name in names), pattern


def test_wildcards_and_brackets() -> None:
    expression = matching(["a/test_b.py::test_c[*-2]", "test_d.py::*"])
    assert expression.fullmatch("tests/a/test_b.py::test_c[x-2]")
    assert not expression.fullmatch("tests/a/test_b.py::test_c[x-3]")
    assert not expression.fullmatch("tests/a/test_bxpy::test_c[x-2]")
    assert expression.fullmatch("tests/test_d.py::test_e[f]")


class Item:
    def __init__(self, nodeid: str) -> None:
        self.nodeid, self.marks = nodeid, []

    def add_marker(self, name: str) -> None:
        self.marks.append(name)


def test_tests_are_marked_by_their_names() -> None:
    items = [
        Item("tests/test_fuzz.py::test_x"),
        Item("tests/clips/test_h264.py::test_x"),
        Item("tests/test_docs.py::test_x"),
    ]
    mark(items)
    assert [one.marks for one in items] == [["slow"], ["nightly"], []]
