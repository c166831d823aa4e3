"""Energon's own commands, in this process: a start of its own would cost 6 s of imports each time."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
from megatron.energon.cli.main import main as energon


def energon_command(name: str, folder: Path, *words: str) -> Result:
    """Run ``energon NAME FOLDER …``."""
    return CliRunner().invoke(energon, [name, str(folder), *words])


def energon_prepare(folder: Path, *words: str) -> None:
    """Run ``energon prepare``, whose questions are answered on its command line."""
    usual = ("--non-interactive", "--num-workers", "1", "--no-progress")
    done = energon_command("prepare", folder, *usual, *words)
    assert done.exit_code == 0, done.output
