"""10,000 damaged files of every kind: each is read or refused; none crashes Python, and none makes a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parent / "workers" / "fuzz_readers.py"
ROOT = Path(__file__).parents[1]
FILES = 10_000


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    for name in ("files", "here"):
        (tmp_path / name).mkdir()
    command = [sys.executable, str(FUZZ), str(tmp_path / "files"), str(FILES), "7"]
    environment = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path / "here"),
    }
    found = subprocess.run(command, cwd=tmp_path / "here", env=environment, capture_output=True, text=True, check=False)
    last = (tmp_path / "last").read_bytes()[:60] if (tmp_path / "last").is_file() else b""
    assert found.returncode == 0, f"{found.stdout}{found.stderr[-800:]} after {last!r}"
    counts = {what: int(count) for count, what in (line.split(" ", 1) for line in found.stdout.splitlines())}
    assert set(counts) == {"read", "refused", "new files"}
    assert counts["new files"] == 0
    assert counts["read"] + counts["refused"] == FILES
    assert counts["refused"] > FILES / 2
    assert counts["read"] > FILES / 50  # the damage does not always matter: readers do get somewhere
