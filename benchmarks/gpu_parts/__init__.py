"""The parts of ``gpu.py``, in order of value: modules with ``rows(options)``, each run in a process of its own."""

from __future__ import annotations

# Name -> share of the time; what a part leaves goes to those after it.
PARTS = {
    "machine": 2,
    "contract": 5,
    "lidar_tokenizer": 9,
    "lidargen": 12,
    "dit": 12,
    "multiview": 14,
    "video": 8,
    "sparse": 4,
    "nccl": 3,
    "memory": 6,
    "kernels": 5,
}
