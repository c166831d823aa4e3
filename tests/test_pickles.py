"""Unpickling of data: arrays of all protocols, and programs that use allowed names alone."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosmos_lidar.pickles import load_arrays

VALUES: dict[str, Any] = {
    "floats": np.arange(6.0).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)),
    "texts": np.array(["ab", "c"]),
    "none": np.zeros((0, 5)),
    "scalar": np.float64(3.5),
    "bool": np.bool_(True),
    "text": np.str_("abc"),
    "bytes": b"\xff\x00",
    "no bytes": b"",
    "big": 1 << 70,
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_numbers_and_texts_of_every_protocol(protocol: int) -> None:
    found = load_arrays(pickle.dumps({**VALUES, "list": [1, (2, None)]}, protocol))
    assert found["list"] == [1, (2, None)]
    for name, value in VALUES.items():
        assert np.array_equal(found[name], value), name
        assert np.asarray(found[name]).dtype.newbyteorder("=") == np.asarray(value).dtype.newbyteorder("="), name


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.calls = function, arguments

    def __reduce__(self) -> tuple:
        return self.calls


NDARRAY = b"cnumpy\nndarray\n"
RECONSTRUCT = b"cnumpy._core.multiarray\n_reconstruct\n"
MINE = b"cnumpy\ndtype\n"


PROGRAMS: list[tuple[bytes, str]] = [
    (pickle.dumps(Calls(np.ndarray, (4,), np.dtype("O"), b"A" * 32)), "dtype 'O8'"),
    (pickle.dumps(Calls(np.ndarray, (4,), np.dtype("f8"), b"A" * 32)), "not callable"),
    (pickle.dumps(np.array([{}], dtype=object)), "dtype 'O8'"),
    (pickle.dumps(np.zeros(2, [("a", "f4"), ("b", "O")])), "dtype 'V12'"),
    (pickle.dumps(np.array(["2020-01-01"], "M8[s]")), "dtype 'M8'"),
    (pickle.dumps(Calls(print, "run")), "refers to builtins.print, which may run anything"),
    (b"\x80\x02" + RECONSTRUCT + NDARRAY + b"K\x00\x85U\x01b\x87R(K\x01J\xff\xff\xff\x7f\x85" + MINE
     + b"U\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C\x08AAAAAAAAtb.",
     "of shape (2147483647,) and float64 by 8 bytes"),
    (b"\x80\x02" + RECONSTRUCT + b"cnumpy\ndtype\nK\x00\x85U\x01b\x87R.", "in another way than numpy does"),
    (b"\x80\x02" + MINE + b"}U\x01aK\x01sb.", "gives a state to a Named"),
    (b"\x80\x02" + NDARRAY + b"}U\x01aK\x01sb.", "gives a state to a object"),
    (b"\x80\x02" + MINE + b"N}U\x0c__defaults__K\x01s\x86b.", "gives a state to a Named"),
    (b"\x80\x02}N" + b"\x85" * 400_000 + b"Ns.", "uses a tuple as a key"),
    (b"\x80\x02(N" + b"\x85" * 400_000 + b"\x91.", "uses a tuple as a key"),
    (b"\x80\x05\x96\x00\x00\x00\x00\x00\x02\x00\x00.", "promises 2199023255552 bytes"),
    (b"\x80\x04\x8e\x00\x00\x00\x00\x00\x02\x00\x00.", ""),
    (b"\x80\x04\x95\x00\x00\x00\x00\x00\x02\x00\x00.", ""),
    (b"\x80\x02]K\x01K\x02s.", "puts entries into a list"),
    (b"\x80\x02N\x94r\xff\xff\xff\x7fj\xff\xff\xff\x7e.", ""),
    (b"\x80\x02\x82\x01.", ""),
    (b"\x80\x02U\x01aQ.", ""),
    (b"", ""),
]  # fmt: skip


SCRIPT = """
import pathlib, resource, sys
from cosmos_lidar.pickles import load_arrays
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for number in range(int(sys.argv[1])):
    try:
        load_arrays(pathlib.Path(str(number)).read_bytes())
    except MemoryError:
        sys.exit(f"{number}: no memory")
    except Exception as error:
        print(type(error).__name__, str(error).replace(chr(10), " "), flush=True)
    else:
        sys.exit(f"{number}: taken")
"""


def test_what_could_run_crash_or_fill_the_memory_is_refused(tmp_path: Path) -> None:
    for number, (content, _) in enumerate(PROGRAMS):
        (tmp_path / str(number)).write_bytes(content)
    command = [sys.executable, "-c", SCRIPT, str(len(PROGRAMS))]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, (found.stdout.splitlines()[-1:], found.stderr[-500:])
    for line, (content, problem) in zip(found.stdout.splitlines(), PROGRAMS, strict=True):
        assert problem in line, content[:100]
    assert len(list(tmp_path.iterdir())) == len(PROGRAMS)
