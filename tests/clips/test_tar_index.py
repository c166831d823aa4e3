"""Members of a tar by name: read by seeking, in any order and process; damaged tars and large members are refused."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.tar_index import TarIndex
from cosmos_lidar.errors import DataError

ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


MEMBERS = {
    "deep/folder/a.npy": npy(ARRAY),
    "b.npz": npz(only=ARRAY),
    "two.npz": npz(x=ARRAY, y=ARRAY),
    "objects.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(127) + b"\n",
    "text": b"hello",
    "empty": b"",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "x.tar", MEMBERS)
    return tmp_path / "x.tar"


def write(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_the_tar_of_a_clip_need_not_be_there(tmp_path: Path) -> None:
    assert TarIndex.of_clip(tmp_path / "pose", "one") is None
    with tarfile.open(tmp_path / "one.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("one.text"), io.BytesIO())
    found = TarIndex.of_clip(tmp_path, "one")
    assert found is not None
    assert (found.path, list(found.members)) == (tmp_path / "one.tar", ["one.text"])


def test_members_are_read_by_their_base_names(path: Path) -> None:
    tar = pickle.loads(pickle.dumps(TarIndex.of(path)))
    assert list(tar.members) == ["a.npy", "b.npz", "two.npz", "objects.npy", "text", "empty"]
    assert [tar.read(name) for name in ("text", "empty", "a.npy")] == [b"hello", b"", MEMBERS["deep/folder/a.npy"]]
    assert path.read_bytes()[slice(*np.cumsum(tar.members["text"]))] == b"hello"
    for name in ("b.npz", "a.npy"):
        assert np.array_equal(tar.read_array(name), ARRAY)


@pytest.mark.parametrize(
    ("name", "limit", "message"),
    [
        ("absent", None, "member missing.*absent.*one of 6 members"),
        ("two.npz", None, r"not a readable array: it holds the arrays \['x', 'y'\].*two.npz.*npz of one array"),
        ("objects.npy", None, "not a readable array.*objects.npy"),
        ("text", None, "not a readable array.*text"),
        ("b.npz", 40, "b.npz"),
        ("a.npy", 100, "a.npy"),
    ],
)
def test_what_cannot_be_read_is_named(path: Path, name: str, limit: int | None, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        TarIndex.of(path).read_array(name, "a_clip", limit)
    assert (caught.value.file, caught.value.clip, caught.value.key) == (path, "a_clip", name)


def test_a_tar_that_shrinks_after_it_was_indexed(path: Path) -> None:
    tar = TarIndex.of(path)
    start, size = tar.members["text"]
    path.write_bytes(path.read_bytes()[: start + 3])
    with pytest.raises(DataError, match=f"3 of {size} bytes.*a complete tar"):
        tar.read("text")


def test_cut_compressed_and_foreign_files(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    write(tmp_path / "packed.tar", MEMBERS, "w:gz")
    (tmp_path / "text.tar").write_bytes(b"no tar " * 200)
    (tmp_path / "open.tar").write_bytes(whole[: whole.rindex(b"empty") + 512])
    (tmp_path / "half.tar").write_bytes(whole[:700])
    for name in ("packed", "text", "half", "absent"):
        with pytest.raises(DataError, match=f"{name}.tar"):
            TarIndex.of(tmp_path / f"{name}.tar")
    with pytest.raises(DataError, match="ends without its closing block.*open.tar.*empty.*a complete copy"):
        TarIndex.of(tmp_path / "open.tar")


def test_two_members_of_one_name(tmp_path: Path) -> None:
    write(tmp_path / "x.tar", {"a/x.npy": b"1", "b/x.npy": b"2"})
    with pytest.raises(DataError, match="two members of one name.*x.npy"):
        TarIndex.of(tmp_path / "x.tar")
