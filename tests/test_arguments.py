"""Errors of the command line: one line each, with the nearest option, and numbers refused before anything runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_lidar.arguments import Parser, decimal, out_file, out_folder, whole
from cosmos_lidar.cli import main
from cosmos_lidar.recipes.registry import find_family


def refused(words: list[str], run: Callable[[list[str]], object], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the message of a refused command line, which is one line on stderr."""
    with pytest.raises(SystemExit) as ended:
        run(words)
    out, said = capsys.readouterr()
    assert (ended.value.code, out, said.count("\n")) == (2, "", 1)
    return said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("evaluate --data d --checkpoint c --max-clps 3", "unknown option --max-clps; did you mean --max-clips?"),
        ("evaluate --data d --checkpont=c", "evaluate: unknown option --checkpont; did you mean --checkpoint?"),
        ("check shards more", "check: unexpected 'more'"),
        ("check shards --qqq", "check: unknown option --qqq (--help lists all options)"),
        ("sensor fit scans --frmes 3", "sensor fit: unknown option --frmes; did you mean --frames?"),
        ("prepare drives", "prepare: the following arguments are required: OUT"),
        ("prepare drives out --jobs 0", "prepare: argument --jobs: 0: expected a whole number, 1 or more"),
        ("prepare drives out --jobs two", "argument --jobs: 'two': expected a whole number, 1 or more"),
        ("prepare drives out --bad-budget 7", "argument --bad-budget: 7: expected a number, 0 or more, 1 or less"),
        ("doctor dit --nodes 0", "argument --nodes: 0: expected a whole number, 1 or more"),
        ("doctor dit --processes -1", "argument --processes: -1: expected a whole number, 1 or more"),
        ("doctor dit --memory-gb lots", "argument --memory-gb: 'lots': expected a number, above 0"),
        ("inspect drives --sweeps -1", "argument --sweeps: -1: expected a whole number, 0 or more"),
        ("evaluate --data d --max_clips -7", "-7: expected a whole number, 1 or more, or -1 for all"),
        ("autoencode --sample_path d --fps nan", "nan: expected a number, above 0"),
        ("tokenize videos --checkpoint c --out o --short-size -4", "-4: expected a whole number, 0 or more"),
        ("replay run --step 0", "0: expected a whole number, 1 or more"),
    ],
)  # fmt: skip
def test_commands_refuse_in_one_line(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(line.split(), main, capsys)


@pytest.mark.parametrize(
    ("word", "hint"),
    [("--recipe", "options of recipes are written key=value"), ("--dry-run", "did you mean --dryrun?")],
)
def test_recipes_refuse_in_one_line(word: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused([word, "recipe=debug"], find_family("dit").main, capsys)
    assert f"unknown option {word}; {hint}" in said


def test_valid_numbers() -> None:
    assert [whole(0)("0"), whole(1)("12"), whole(1, or_all=True)("-1")] == [0, 12, -1]
    assert [decimal()("-1e3"), decimal(above=0)("0.5"), decimal(0, most=1)("1")] == [-1000.0, 0.5, 1.0]
    for convert, text in ((decimal(), "inf"), (decimal(), "nan"), (decimal(above=0), "0"), (decimal(0, most=1), "1.5"),
                          (whole(1), "1.0"), (whole(1), "-1"), (whole(1, or_all=True), "0")):  # fmt: skip
        with pytest.raises(argparse.ArgumentTypeError, match=text):
            convert(text)


def test_places_to_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for text in ("new", "a/b/new", str(tmp_path / "new"), "../new"):
        assert (out_file(text), out_folder(text)) == (Path(text), Path(text))
    assert out_file("file") == Path("file")  # it is replaced
    assert out_folder(".") == Path()
    with pytest.raises(argparse.ArgumentTypeError, match="file: is a file: expected a folder to write to"):
        out_folder("file")
    with pytest.raises(argparse.ArgumentTypeError, match=".: is a folder: expected a file to write"):
        out_file(".")
    for kind in (out_file, out_folder):
        with pytest.raises(argparse.ArgumentTypeError, match="file/below: .*file is a file"):
            kind("file/below")
        with pytest.raises(argparse.ArgumentTypeError, match="too long"):
            kind("x" * 300)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests of root have all permissions
    for kind in (out_file, out_folder):
        with pytest.raises(argparse.ArgumentTypeError, match=f"new/a: {tmp_path} cannot be written to"):
            kind("new/a")


@pytest.mark.parametrize(
    "line",
    ["prepare drives FILE", "evaluate --data d --output .", "evaluate-semseg --checkpoint c --data d --out FILE",
     "generate-lidar --save_dir FILE", "view drives --out .", "tokenize d --out FILE", "convert-backbone b --out ."],
)  # fmt: skip
def test_commands_refuse_places_before_they_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    assert "to write" in refused(line.split(), main, capsys)


def test_what_is_known_is_parsed_as_by_argparse() -> None:
    parser = Parser(prog="p")
    parser.add_argument("--some")
    verbs = parser.add_subparsers(dest="verb")
    verbs.add_parser("go").add_argument("--far", action="store_true")
    parsed = parser.parse_args(["--some", "x", "go", "--far"])
    assert (parsed.some, parsed.verb, parsed.far) == ("x", "go", True)
