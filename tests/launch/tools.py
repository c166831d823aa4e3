"""Programs of the extra ``dev`` that the tests call."""

import os
import shutil
import sys
from pathlib import Path

import pytest


def find_tool(name: str) -> str:
    """Return the path of a program of this environment or of the system; skip the test where there is none."""
    folders = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = shutil.which(name, path=folders)
    if found is None:
        pytest.skip(f"{name} is not installed: pip install -c constraints.txt -e '.[dev]'")
    return found
