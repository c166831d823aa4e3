"""Write a constraints file for an image that brings some packages: their versions there, ours for all others.

``python docker/image_constraints.py constraints.txt > merged.txt``
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import distributions
from pathlib import Path

# What NVIDIA builds for each other, and the packages that they were compiled against.
KEPT = ("torch", "torchvision", "torchaudio", "triton", "pytorch-triton", "transformer-engine", "flash-attn", "apex",
        "numpy", "scipy", "protobuf", "nvidia-dali-cuda130", "onnx")  # fmt: skip


def normalize(name: str) -> str:
    """Return a package's name as package indexes compare it: ``nemo_run`` and ``NeMo-Run`` are ``nemo-run``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def merge(lines: Iterable[str], installed: dict[str, str]) -> Iterator[str]:
    """Yield constraint lines: the image's version of each package of KEPT that it has, our line for all others.

    Args:
        lines: our constraints, ``name==version`` with or without a marker.
        installed: {normalized name: version} in the image.
    """
    kept = {name: installed[name] for name in KEPT if name in installed}
    for line in lines:
        name = normalize(re.split(r"[=;\s]", line.strip(), maxsplit=1)[0])
        if line.strip() and not line.startswith("#") and name not in kept:
            yield line.strip()
    for name, version in kept.items():
        yield f"{name}=={version}"


if __name__ == "__main__":
    found = {normalize(one.metadata["Name"]): one.version for one in distributions() if one.metadata["Name"]}
    ours = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    sys.stdout.write("\n".join(merge(ours, found)) + "\n")
