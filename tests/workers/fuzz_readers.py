"""Damage files of every kind, and read them: ``python fuzz_readers.py FOLDER FILES SEED``.

Each is read, or refused with a DataError. Prints how many of each kind were, and what else happened; a crash of Python
is seen from outside.
"""

from __future__ import annotations

import collections
import pickle
import random
import resource
import sys
import tarfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.distributed.checkpoint as dcp
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from cosmos_lidar.arrays import read_npy, read_npz
from cosmos_lidar.clips.exr import read_exr, write_exr
from cosmos_lidar.clips.range_codec import decode_ranges, encode_ranges
from cosmos_lidar.clips.readers.nuscenes.infos import read_infos
from cosmos_lidar.clips.tar_index import TarIndex
from cosmos_lidar.clips.video import VideoFile, write_mp4
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_tensors, write_nemo
from cosmos_lidar.images import open_image
from cosmos_lidar.models.torchscript import mapped_torchscript
from cosmos_lidar.shards.energon_index import split_names
from cosmos_lidar.shards.energon_yaml import read_dataset_yaml
from cosmos_lidar.shards.sweeps import read_meta
from cosmos_lidar.training.checkpoint.reading import stored_names

_ROOM = 6 << 30  # bytes of address space beyond what the imports take
_OPCODES = [
    getattr(pickle, name)[0] for name in pickle.__all__ if name.isupper() and isinstance(getattr(pickle, name), bytes)
]
_SIZES = (b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00\x00\x02\x00\x00", b"\xff" * 8, b"\x00\x00\x00\x40", b"99999999999")


def examples(folder: Path) -> dict[str, Callable[[Path], object]]:
    """Write one whole file of each kind; return what reads it, by its name."""
    array = np.arange(40, dtype=np.float32).reshape(5, 8)
    np.savez_compressed(folder / "a.npz", range=array)
    np.save(folder / "a.npy", array)
    entry = {"lidar_points": {"lidar_path": "x.bin"}, "images": {"CAM": {"cam2img": np.eye(3), "t": np.float64(2)}}}
    (folder / "infos.pkl").write_bytes(pickle.dumps({"data_list": [entry] * 3}, 4))
    (folder / "infos2.pkl").write_bytes(pickle.dumps({"data_list": [entry]}, 2))
    state = {"model": nn.Linear(3, 4).state_dict(), "step": 3, "list": [1, (2, "x")]}
    torch.save(state, folder / "a.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))).save(str(folder / "a.jit"))
    write_nemo(folder / "a.nemo", "a: 1\n", nn.Linear(3, 4).state_dict())
    save_file(nn.Linear(3, 4).state_dict(), folder / "a.safetensors")
    warnings.simplefilter("ignore")  # of saving without other ranks
    dcp.save({"a": torch.ones(4, 4), "b": torch.ones(3)}, checkpoint_id=folder / "checkpoint", no_dist=True)
    (folder / "a.ranges.bin").write_bytes(encode_ranges(np.abs(array[None]) + 1))
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / "a.png")
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / "a.jpg")
    write_mp4(folder / "a.mp4", [np.zeros((32, 48, 3), np.uint8)] * 3, 10)
    with tarfile.open(folder / "a.tar", "w") as tar:
        for name in ("a.npz", "a.npy"):
            tar.add(folder / name, name)
    (folder / "dataset.yaml").write_text(
        "__module__: megatron.energon\n__class__: CrudeWebdataset\nsubflavors:\n  sample_type: latents\n  x: &x [1]\n"
    )
    (folder / "shards" / ".nv-meta").mkdir(parents=True)
    (folder / "shards" / ".nv-meta" / "split.yaml").write_text(
        "split_parts:\n  train: ['train-{0..9}.tar']\nexclude: []\n"
    )
    exr = {"a.exr": read_exr} if find_spec("OpenEXR") else {}
    if exr:
        write_exr(folder / "a.exr", {"Y": array, "label": array.astype(np.uint32)})
    (folder / "a.meta.json").write_text('{"version": 1, "tool": "", "clip_id": "a", "sensor_file": "s.yaml"}')
    return {
        "a.npz": read_npz,
        "a.npy": lambda path: read_npy(path.read_bytes()),
        "infos.pkl": read_infos,
        "infos2.pkl": read_infos,
        "a.pt": lambda path: read_tensors(path, "weights"),
        "old.pt": lambda path: read_tensors(path, "weights"),
        "a.jit": torchscript,
        "a.nemo": lambda path: read_tensors(path, "weights"),
        "a.safetensors": lambda path: read_tensors(path, "weights"),
        "checkpoint/.metadata": lambda path: stored_names(path.parent, ""),
        "a.ranges.bin": lambda path: decode_ranges(path.read_bytes()),
        "a.png": image,
        "a.jpg": image,
        "a.mp4": lambda path: VideoFile(path)(0),
        "a.tar": tar_of_arrays,
        **exr,
        "dataset.yaml": read_dataset_yaml,
        "shards/.nv-meta/split.yaml": lambda path: split_names(path.parents[1]),
        "a.meta.json": lambda path: read_meta(path.read_bytes()),
    }


def torchscript(path: Path) -> object:
    try:
        return [tensor.float().sum() for tensor in mapped_torchscript(path).values()]
    except ValueError as error:
        raise DataError(str(error)) from error


def image(path: Path) -> object:
    try:
        with open_image(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except OSError as error:
        raise DataError(str(error)) from error


def tar_of_arrays(path: Path) -> object:
    tar = TarIndex.of(path)
    return [tar.read_array(name) for name in tar.members]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return a file with one to four changes."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(found) + 1), rng.choice((1, 2, 4, 8, 30))
        kind = rng.randrange(7)
        if kind == 0:
            found[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            found[at : at + 1] = bytes([rng.choice(_OPCODES)])
        elif kind == 2:
            found[at:at] = found[rng.randrange(len(found) + 1) :][:size]
        elif kind == 3:
            del found[at : at + size]
        elif kind == 4:
            number = rng.choice(_SIZES)
            found[at : at + len(number)] = number
        elif kind == 5 and rng.random() < 0.2:
            del found[at:]
        else:
            found[at : at + size] = rng.randbytes(len(found[at : at + size]))
        if not found:
            return b""
    return bytes(found)


def main(folder: Path, files: int, seed: int) -> int:
    """Read damaged files; returns 1 where something else than a DataError was raised."""
    rng = random.Random(seed)
    readers = examples(folder)
    torch.manual_seed(seed)
    with open("/proc/self/statm", encoding="ascii") as stat:
        used = int(stat.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ROOM, used + _ROOM))
    originals = {name: (folder / name).read_bytes() for name in readers}
    for name, read in readers.items():
        if name != "a.meta.json":
            read(folder / name)  # whole ones are read
    before = {path for path in folder.rglob("*")}
    counts: collections.Counter[str] = collections.Counter()
    names = list(readers)
    for number in range(files):
        name = names[number % len(names)]
        path, content = folder / name, damaged(originals[name], rng)
        path.write_bytes(content)
        (folder.parent / "last").write_bytes(f"{name}\n".encode() + content)  # what a crash is looked at with
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                readers[name](path)
            counts["read"] += 1
        except DataError:
            counts["refused"] += 1
        except BaseException as error:
            counts[f"{name}: {type(error).__name__}: {error}"[:200]] += 1
            (folder.parent / f"bad-{number}").write_bytes(content)
    counts["new files"] = len({path for path in folder.rglob("*")} - before) + len(list(Path.cwd().iterdir()))
    for what, count in counts.items():
        sys.stdout.write(f"{count} {what}\n")
    return 0 if set(counts) <= {"read", "refused", "new files"} and not counts["new files"] else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
