"""Folders that look to Energon's index like shards, without any: for what is decided before a shard is opened."""

from __future__ import annotations

import json
from pathlib import Path

CRUDE = "__module__: megatron.energon\n__class__: CrudeWebdataset\n"


def index(folder: Path, sample_type: str | None = "lidar", dataset: str | None = None, **samples: int) -> Path:
    """Write ``.nv-meta`` for one shard of ``samples`` samples in each split."""
    meta = folder / ".nv-meta"
    meta.mkdir(parents=True)
    shards = {split: f"{split}-000000.tar" for split in samples}
    info = {"energon_version": "7", "shard_counts": {shards[split]: count for split, count in samples.items()}}
    (meta / ".info.json").write_text(json.dumps(info))
    (meta / "split.yaml").write_text(json.dumps({"split_parts": {split: [name] for split, name in shards.items()}}))
    said = f"subflavors:\n  sample_type: {sample_type}\n" if sample_type else ""
    (meta / "dataset.yaml").write_text(CRUDE + said if dataset is None else dataset)
    return folder


def metadataset(path: Path, splits: str) -> Path:
    """Write a metadataset of version 2."""
    path.write_text("__module__: megatron.energon\n__class__: MetadatasetV2\nsplits:\n" + splits)
    return path
