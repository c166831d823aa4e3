"""Folders that only Energon describes: tars against its index, and every part that is understood decoded."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import file_sha256
from cosmos_lidar.shards.check_index import check_indexed
from cosmos_lidar.shards.files import write_tar
from cosmos_lidar.shards.latents import array_bytes
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.sweeps import PackedRun


def jpeg() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def folder(tmp_path: Path, **changed: bytes) -> Path:
    """A folder of two shards; ``changed``: parts of the second sample of the first, dots as underscores."""
    parts = {
        "latent.npy": array_bytes(np.ones((2, 3), np.float16)),
        "meta.json": b"{}",
        "front.jpg": jpeg(),
        "own": b"?",
    }
    others = {name.replace("_", "."): content for name, content in changed.items()}
    write_tar(tmp_path / "train-000000.tar", [PackedRun("a", parts, 1, 0), PackedRun("b", parts | others, 1, 0)])
    write_tar(tmp_path / "val-000000.tar", [PackedRun("c", parts, 1, 0)])
    index_with_energon(tmp_path, ["train-000000.tar", "val-000000.tar"], sample_type="latents")
    return tmp_path


def problems(folder: Path) -> list[tuple[str | None, str | None, str]]:
    return [(one.shard, one.key, one.problem) for one in check_indexed(folder).problems]


def test_nothing_wrong(tmp_path: Path) -> None:
    result = check_indexed(folder(tmp_path))
    assert (result.shards, result.samples, result.problems) == (2, 3, [])
    assert result.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.tar"))


@pytest.mark.parametrize(
    ("part", "content"),
    [("latent_npy", b"\x93NUMPY broken"), ("meta_json", b"{"), ("front_jpg", b"no image"), ("x_mp4", b"?")],
)
def test_a_part_that_does_not_decode_is_named(tmp_path: Path, part: str, content: bytes) -> None:
    ((shard, key, _),) = problems(folder(tmp_path, **{part: content}))
    assert (shard, key) == ("train-000000.tar", f"b.{part.replace('_', '.')}")


def test_a_tar_that_is_not_as_it_was_indexed(tmp_path: Path) -> None:
    root = folder(tmp_path)
    tar = root / "train-000000.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[: len(whole) // 2])
    found = problems(root)
    assert any("cut or damaged after" in problem for _, _, problem in found)
    assert any("Energon's index has 2 samples" in problem for _, _, problem in found)
    write_tar(tar, [PackedRun("other", {"meta.json": b"{}"}, 1, 0)])
    assert problems(root) == [(tar.name, None, "Energon's index has 2 samples, the tar 1, or they lie elsewhere")]


def test_shards_are_compared_with_the_document_that_lists_them(tmp_path: Path) -> None:
    root = folder(tmp_path)
    names = ("train-000000.tar", "val-000000.tar")
    shards = [{"name": name, "sha256": file_sha256(root / name)} for name in names]
    document = root / "multiview.json"
    (root / "latents.json").write_text("{}")  # of an earlier version
    document.write_text(json.dumps({"shards": shards}))
    assert problems(root) == []
    content = (root / names[0]).read_bytes()
    (root / names[0]).write_bytes(content.replace(b"?", b"!"))  # of a part that is not decoded
    assert problems(root) == [(names[0], None, "sha256 differs from the one in multiview.json")]
    (root / names[0]).write_bytes(content)
    document.write_text(json.dumps({"shards": [shards[0], {"name": "test-000000.tar", "sha256": ""}]}))
    assert problems(root) == [
        ("test-000000.tar", None, "this tar is in multiview.json and not in Energon's index"),
        ("val-000000.tar", None, "this tar is not in multiview.json, but Energon would read it"),
    ]
    for text in ("{", '{"shards": 1}', '{"shards": [{"name": "a"}]}'):
        document.write_text(text)
        ((shard, _, problem),) = problems(root)
        assert (shard, problem.startswith("multiview.json is not readable")) == (None, True)


def test_a_split_that_names_what_is_not_indexed(tmp_path: Path) -> None:
    root = folder(tmp_path)
    parts = {"split_parts": {"train": ["train-000000.tar", "train-000001.tar"]}}
    (root / ".nv-meta" / "split.yaml").write_text(json.dumps(parts))
    assert problems(root) == [("train-000001.tar", None, "split train names a shard that is not indexed")]


def test_code_in_the_description_is_a_problem_unless_it_is_trusted(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / ".nv-meta" / "loader.py").write_text("raise SystemExit")
    with (root / ".nv-meta" / "dataset.yaml").open("a") as file:
        file.write("sample_loader: loader.py:load\n")
    ((_, _, problem),) = problems(root)
    assert "sample_loader" in problem
    assert check_indexed(root, trust=True).problems == []  # and the loader is not run


def test_a_folder_without_an_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the Energon index cannot be read"):
        check_indexed(tmp_path)
