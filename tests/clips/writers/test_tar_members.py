"""Members of tars: their content, and bytes that depend on nothing else."""

from __future__ import annotations

import io
import tarfile

import numpy as np

from cosmos_lidar.clips.writers._tar_members import add_arrays, add_bytes, add_npy, add_npz


def packed() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_bytes(tar, "a.txt", b"text")
        add_npy(tar, "a.npy", np.arange(3))
        add_npz(tar, "a.npz", np.arange(4, dtype=np.uint8))
        add_arrays(tar, "b.npz", one=np.float32(2.5), two=np.arange(2))
    return buffer.getvalue()


def test_members_hold_what_was_added() -> None:
    with tarfile.open(fileobj=io.BytesIO(packed())) as tar:
        content = {member.name: tar.extractfile(member).read() for member in tar}
        owners = {(member.uid, member.gid, member.uname, member.mtime) for member in tar}
    assert content["a.txt"] == b"text"
    loaded = np.load(io.BytesIO(content["a.npy"]), allow_pickle=False)
    assert (loaded.dtype, loaded.tolist()) == (np.float64, [0, 1, 2])
    with np.load(io.BytesIO(content["a.npz"]), allow_pickle=False) as arrays:
        assert arrays["arr_0"].dtype == np.uint8
    with np.load(io.BytesIO(content["b.npz"]), allow_pickle=False) as arrays:
        assert (float(arrays["one"]), arrays["two"].tolist()) == (2.5, [0, 1])
    assert owners == {(0, 0, "", 0)}


def test_the_same_content_gives_the_same_bytes() -> None:
    assert packed() == packed()
