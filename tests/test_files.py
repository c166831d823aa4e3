"""Atomic writing, checksums, and reading of tensors that runs no code."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cosmos_lidar import files
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import (
    append_whole,
    atomic_write,
    file_sha256,
    is_write_failure,
    parse_json,
    read_header,
    read_rows,
    read_tensors,
    read_yaml,
    remove_partial,
    write_json,
    write_may_fail,
)
from cosmos_lidar.models.tokenizer import load_tokenizer
from cosmos_lidar.models.wrapped_weights import read_named_weights


@pytest.mark.parametrize("sync", [False, True])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"):
        _write_and_fail(path, sync)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _write_and_fail(path: Path, sync: bool) -> None:
    with atomic_write(path, sync) as partial:
        partial.write_text("half")
        raise OSError("disk full")


@pytest.mark.parametrize("sync", [False, True])
def test_the_file_appears_when_the_block_ends(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    with atomic_write(path, sync) as partial:
        partial.write_text("whole")
        assert partial.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def write(number: int) -> None:
        with atomic_write(path) as partial:
            partial.write_text(str(number) * 10_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(9)))
    assert len(set(path.read_text())) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_leaves_is_ignored_and_can_be_removed(tmp_path: Path) -> None:
    program = (
        "import os, sys; from cosmos_lidar.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as partial:\n    partial.write_text('half'); os._exit(9)"
    )
    path = tmp_path / "shard.tar"
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == 9
    (tmp_path / f"old.tar.{os.getpid()}.part").write_text("as earlier versions named them")
    assert not list(tmp_path.glob("*.tar"))
    assert len(list(tmp_path.iterdir())) == 2
    path.write_text("whole")
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_sha256_of_a_file_longer_than_a_block(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    (tmp_path / "a").write_bytes(content)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_json_refuses_what_json_does_not_have(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1.5]})
    assert (tmp_path / "a.json").read_text() == '{\n  "x": [\n    1.5\n  ]\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert "1.5" in (tmp_path / "a.json").read_text()


def test_checkpoints_run_no_code_and_damage_is_named(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "iter_000000001.pt"
    torch.save({"x": Evil()}, path)
    with pytest.raises(DataError, match="iter_000000001.pt"):
        read_tensors(path, "weights")
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match="not a checkpoint that is safe to read.*Expected: weights"):
        read_tensors(path, "weights")
    assert not (tmp_path / "ran").exists()
    torch.save({"x": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(DataError, match="iter_000000001.pt"):
        read_tensors(path, "weights")
    with pytest.raises(DataError, match="no such file"):
        read_tensors(tmp_path / "none.pt", "weights")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_weights_that_end_too_early_are_told_from_other_files(tmp_path: Path, name: str) -> None:
    path, tensors = tmp_path / name, {"x": torch.ones(300), "y": torch.ones(200)}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    whole = path.read_bytes()
    for size in (40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="it ends too early, as after an interrupted download"):
            read_tensors(path, "weights")
    for other in (b"a text, which is no archive of tensors", b"\xff" * 8 + b"{", b"\1" + bytes(7) + b"["):
        path.write_bytes(other)
        with pytest.raises(DataError) as refused:
            read_tensors(path, "weights")
        assert "too early" not in str(refused.value)


@pytest.mark.parametrize(
    "end",
    [
        b"PK\6\7" + bytes(12) + b"\2\0\0\0" + b"PK\5\6" + bytes(18),  # a second disk, which zipfile raises for
        b"PK\5\6" + bytes(4) + b"\1\0\1\0" + b"\x2e\0\0\0" + bytes(6),  # a directory that is none
    ],
    ids=["disks", "directory"],
)
def test_archives_with_a_broken_end_are_refused_everywhere(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"PK\3\4" + bytes(60) + end)
    reads = (lambda: read_tensors(path, "w"), lambda: read_named_weights(path, "w"), lambda: load_tokenizer(path))
    for read in reads:
        with pytest.raises(DataError, match="a.pt") as refused:
            read()
        assert "too early" not in str(refused.value)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", ["a.pt", "old.pt", "a.safetensors"])
def test_tensors_come_back(tmp_path: Path, name: str, mmap: bool) -> None:
    path, tensors = tmp_path / name, {"x": torch.arange(6.0).reshape(2, 3)}
    if path.suffix == ".safetensors":
        save_file(tensors, path, {"step": "3"})
        assert read_header(path, "weights") == {"step": "3"}
    else:  # those that are no zip archives cannot be mapped
        torch.save(tensors, path, _use_new_zipfile_serialization=name == "a.pt")
    assert torch.equal(read_tensors(path, "weights", mmap=mmap)["x"], tensors["x"])


def test_damaged_safetensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0no header at all")
    for read in (read_header, read_tensors):
        with pytest.raises(DataError, match=r"not a safetensors file.*a\.safetensors.*Expected: weights"):
            read(path, "weights")


def test_importing_it_does_not_import_torch() -> None:
    program = "import sys, cosmos_lidar.files; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_rows_of_a_table_with_missing_fields(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss,val/loss\n1,0.5,\n2,0.25\n")
    assert read_rows(tmp_path / "metrics.csv") == [
        {"step": "1", "loss": "0.5", "val/loss": ""},
        {"step": "2", "loss": "0.25", "val/loss": ""},
    ]


@pytest.mark.parametrize(
    ("text", "problem"), [("a: [", "cannot be read"), ("- 1", "not a mapping"), (None, "cannot be read")]
)
def test_yaml_that_is_no_mapping_is_refused(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "a.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=rf"(?s){problem}.*a\.yaml.*Expected: a sensor"):
        read_yaml(path, "a sensor")
    path.write_text("a: 1")
    assert read_yaml(path, "a sensor") == {"a": 1}


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from safetensors.torch import save_file
from cosmos_lidar.files import is_write_failure
folder = Path(sys.argv[1])
def text(path): path.write_text("x" * 20000)
def saved(path): torch.save({"x": torch.zeros(9999)}, path)
def opened(path):
    with path.open("wb") as stream: torch.save({"x": torch.zeros(9999)}, stream)
def safe(path): save_file({"x": torch.zeros(9999)}, path)
for room in (0, 99, 4999, 19999):  # no file takes more bytes
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    for write in (text, saved, opened, safe):
        try:
            write(folder / "file")
        except Exception as error:
            print(write.__name__, room, is_write_failure(error), "" if is_write_failure(error) else repr(error))
"""


def test_every_library_that_writes_is_understood_when_the_disk_is_full(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = ("text", "saved", "opened", "safe")
    wanted = [f"{name} {room} True " for room in (0, 99, 4999, 19999) for name in names]
    assert done.stdout.splitlines() == wanted, done.stderr
    others = (RuntimeError("size mismatch"), ValueError("x"), ConnectionResetError(104, "reset"))
    assert not any(is_write_failure(error) for error in others)


def test_what_may_fail_is_logged_and_what_is_wrong_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    for number in (28, 122, 30):  # full, quota, read-only
        with write_may_fail(f"file {number}", "the run goes on"):
            raise OSError(number, os.strerror(number))
    assert [record.getMessage() for record in caplog.records] == [
        "file 28 could not be written ([Errno 28] No space left on device): the run goes on",
        "file 122 could not be written ([Errno 122] Disk quota exceeded): the run goes on",
        "file 30 could not be written ([Errno 30] Read-only file system): the run goes on",
    ]
    with pytest.raises(KeyError), write_may_fail("file", "the run goes on"):
        raise KeyError("x")


def test_half_a_row_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    append_whole(path, b"whole\n")
    write = os.write

    def last_bytes(handle: int, content: bytes) -> int:
        monkeypatch.setattr(files.os, "write", full)
        return write(handle, content[:3])

    def full(handle: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(files.os, "write", last_bytes)
    with pytest.raises(OSError, match="full"):
        append_whole(path, b"another\n")
    assert path.read_bytes() == b"whole\n"


def test_aliases_of_yaml_do_not_fill_the_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (tmp_path / "x.yaml").write_text("\n".join(lines))
    with pytest.raises(DataError, match="aliases that stand for more than 1000000 values"):
        read_yaml(tmp_path / "x.yaml", "a configuration")
    (tmp_path / "x.yaml").write_text("a: &a [1, 2]\nb: *a\n<<: {c: 3}\nd: 2020-01-02\n")
    assert read_yaml(tmp_path / "x.yaml", "a configuration")["b"] == [1, 2]


@pytest.mark.parametrize("text", ["a: " + "[" * 5000, "a: &a [*a]", "a: 2020-99-99", "a: !!python/name:os.system x"])
def test_yaml_that_cannot_be_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(DataError, match=r"x\.yaml"):
        read_yaml(tmp_path / "x.yaml", "a configuration")


def test_json_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with atomic_write(tmp_path / "x.safetensors") as partial:
        save_file({"a": torch.zeros(1)}, partial)
    assert (tmp_path / "x.safetensors").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "holds a list"),
        (b"{", "not readable"),
        (b"\xff", "not readable"),
        (b'{"a": 12345678901}', "would take 18 B"),
    ],
)
def test_a_json_file_without_an_object_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "found.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        files.read_json_object(file, "a configuration", "an object", 16)
    assert caught.value.file == file
    file.write_text('{"a": 1}')
    assert files.read_json_object(file, "a configuration", "an object", 16) == {"a": 1}
