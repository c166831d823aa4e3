from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError, UserError, advice_of


def test_a_message_names_file_clip_key_and_what_was_expected() -> None:
    error = DataError("3 values", file="a.npz", clip="drive", key="pose", wanted="4 values")
    text = str(error)
    assert text.startswith("3 values [file a.npz, clip drive, key pose]")
    assert text.endswith("4 values")
    assert isinstance(error, UserError)
    assert str(DataError("3 values")) == "3 values"
    assert str(DataError("3 values", key="pose")) == "3 values [key pose]"


def test_errors_come_back_from_a_worker_process() -> None:
    error = DataError("3 values", file="a.npz", clip="drive", key="pose", wanted="4 values")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert (copy.problem, copy.file, copy.clip, copy.key, copy.wanted) == (
        "3 values", "a.npz", "drive", "pose", "4 values"
    )  # fmt: skip


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: torch.empty(2**60, dtype=torch.uint8),
        lambda: np.zeros(2**60, np.uint8),
        lambda: bytearray(2**62),
    ],
    ids=["torch", "numpy", "python"],
)
def test_memory_that_ends_is_told_in_a_line_with_advice(allocate) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        allocate()
    line = advice_of(caught.value, "use less") or ""
    assert line.startswith("out of memory (")
    assert line.endswith("): use less")
    assert "\n" not in line


def test_memory_of_a_device_and_of_a_worker() -> None:
    of_device = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore lines")
    assert advice_of(of_device, "x") == "out of memory (CUDA out of memory. Tried to allocate 9 GiB.): x"
    assert "killed by signal" in (
        advice_of(RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed."), "x") or ""
    )


def test_memory_that_ended_is_found_below_the_errors_that_follow() -> None:
    def make_and_take_apart() -> None:
        try:
            torch.empty(2**60, dtype=torch.uint8)
        finally:
            torch.empty(1, device="meta").cpu()  # what Lightning does with a network that is half made

    with pytest.raises(NotImplementedError) as caught:
        make_and_take_apart()
    assert (advice_of(caught.value, "x") or "").startswith("out of memory ([enforce fail")


def test_files_that_are_refused_are_named_and_other_errors_keep_their_traceback(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as caught:
        (tmp_path / "file" / "below").mkdir()
    assert advice_of(caught.value, "") == f"{tmp_path / 'file' / 'below'}: Not a directory"
    with pytest.raises(RuntimeError) as failed:
        torch.save({"a": torch.ones(1)}, "/proc/none.pt")
    assert (advice_of(failed.value, "") or "").startswith("a file of weights cannot be written: ")
    for error in (RuntimeError("shapes differ"), OSError("no file in it"), ValueError("out of memory")):
        assert advice_of(error, "") is None


def test_an_error_is_given_its_place():
    inner = DataError("too short", key="lidar", wanted="3 values")
    placed = inner.at(file="a.json", clip="c1")
    assert (placed.problem, placed.file, placed.clip, placed.key, placed.wanted) == (
        "too short", "a.json", "c1", "lidar", "3 values",
    )  # fmt: skip
    assert str(inner.at(key="camera")) == "too short [key camera] Expected: 3 values"
    assert str(placed) == "too short [file a.json, clip c1, key lidar] Expected: 3 values"
