"""Latents as batches; wrong parts are named with shard and key, counted, and end the run above the budget."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.latents import SAMPLE_TYPE
from cosmos_lidar.shards.manifest import index_with_energon
from energon_tasks.latents import latents_loader


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def latent(number: int) -> np.ndarray:
    return np.full((2, 1, 4, 6), number, dtype=np.float16)


def write(folder: Path, count: int = 6, **changed: bytes | None) -> Path:
    """Two shards of ``count`` samples each; sample 3 of the first has the given parts instead of its own."""
    import webdataset

    folder.mkdir()
    names = []
    for split in ("train", "val"):
        names.append(f"{split}-000000.tar")
        with webdataset.TarWriter(str(folder / names[-1])) as tar:
            for number in range(count):
                parts = {"latent.npy": npy(latent(number)), "text.npy": npy(np.ones((3, 5), np.float32))}
                parts["meta.json"] = json.dumps({"clip_id": f"clip{number}"}).encode()
                if number == 3 and split == "train":
                    parts |= {name.replace("_", "."): part for name, part in changed.items()}
                tar.write({"__key__": f"{split}{number}", **{k: v for k, v in parts.items() if v is not None}})
    index_with_energon(folder, names, sample_type=SAMPLE_TYPE)
    return folder


def loader(folder: Path, split: str = "train", training: bool = True, rank: int = 0, world: int = 1, **options: object):
    return latents_loader(folder, split, batch_size=2, training=training, rank=rank, world_size=world, **options)


def test_batches_hold_what_was_written(tmp_path: Path) -> None:
    batches = list(loader(write(tmp_path / "shards"), "val", training=False))
    assert [batch.clip_ids for batch in batches] == [["clip0", "clip1"], ["clip2", "clip3"], ["clip4", "clip5"]]
    assert batches[1].latents.dtype == torch.float32
    assert torch.equal(batches[1].latents, torch.stack([torch.full((2, 1, 4, 6), 2.0), torch.full((2, 1, 4, 6), 3.0)]))
    assert batches[0].text.shape == (2, 3, 5)
    again = list(loader(tmp_path / "shards", "val", training=False))
    assert [batch.noise_seeds for batch in again] == [batch.noise_seeds for batch in batches]  # validations are alike
    assert len(list(loader(tmp_path / "shards", "val", training=False, limit=2))) == 2


def test_noise_differs_from_pass_to_pass_and_by_sample(tmp_path: Path) -> None:
    folder = write(tmp_path / "shards")
    batches = iter(loader(folder, seed=5))
    seeds = [seed for _ in range(9) for seed in next(batches).noise_seeds]  # three passes
    assert len(set(seeds)) == 18
    same = iter(loader(folder, seed=5))
    assert [seed for _ in range(9) for seed in next(same).noise_seeds] == seeds
    other = iter(loader(folder, seed=6))
    assert not set(seeds) & {seed for _ in range(9) for seed in next(other).noise_seeds}


def test_shares_of_the_data_do_not_meet(tmp_path: Path) -> None:
    folder = write(tmp_path / "shards")
    seen = [{clip for batch in loader(folder, "val", False, rank, 2) for clip in batch.clip_ids} for rank in (0, 1)]
    assert seen[0].isdisjoint(seen[1])
    assert seen[0] | seen[1] == {f"clip{number}" for number in range(6)}


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"latent_npy": None}, "part missing [key latent.npy]"),
        ({"meta_json": None}, "part missing [key meta.json]"),
        ({"latent_npy": b"nothing"}, "key latent.npy"),
        ({"latent_npy": npy(np.ones((2, 4, 6), np.float32))}, "(2, 4, 6)"),
        ({"text_npy": npy(np.ones((3, 5), np.int64))}, "int64"),
        ({"latent_npy": pickle.dumps(Evil())}, "key latent.npy"),
    ],
)
def test_a_wrong_part_is_named(changed: dict, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "shards", **changed)
    with pytest.raises(DataError) as error:
        for _ in zip(range(6), loader(folder)):  # noqa: B905
            pass
    assert said in str(error.value)
    assert "train-000000.tar" in str(error.value)
    assert "train3" in str(error.value)
    assert not (tmp_path / "ran").exists()
    tolerant = loader(folder, bad_sample_budget=1.0)
    clips = {clip for _, batch in zip(range(5), tolerant) for clip in batch.clip_ids}  # noqa: B905
    assert "clip3" not in clips
    assert tolerant.skip_report.bad >= 1


def make_sparse(tar: Path, name: str, size: int) -> None:
    """Turn a member into a sparse one of the same bytes that unpacks to ``size``."""
    content = bytearray(tar.read_bytes())
    at = content.index(name.encode().ljust(100, b"\0"))
    head = content[at : at + 512]
    head[156:157], head[257:265] = b"S", b"ustar  \0"
    head[386:398], head[398:410] = b"%011o\0" % 0, b"%011o\0" % 512
    head[410:483], head[483:495] = bytes(73), b"\x80" + size.to_bytes(11, "big")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    content[at : at + 512] = head
    tar.write_bytes(content)


def test_a_member_that_unpacks_to_terabytes_is_a_bad_sample(tmp_path: Path) -> None:
    folder = write(tmp_path / "shards")
    make_sparse(folder / "train-000000.tar", "train3.latent.npy", 900 * 10**9)
    with pytest.raises(DataError, match=r"part missing.*latent\.npy"):
        for _ in zip(range(6), loader(folder)):  # noqa: B905
            pass
    tolerant = loader(folder, bad_sample_budget=1.0)
    clips = {clip for _, batch in zip(range(5), tolerant) for clip in batch.clip_ids}  # noqa: B905
    assert clips
    assert "clip3" not in clips


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no indexed shards"):
        loader(tmp_path)
