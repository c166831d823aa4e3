"""Every item of a batch is traced to bytes that hold what the batch holds."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("megatron.energon")
pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

from cosmos_lidar.clips.range_codec import decode_ranges  # noqa: E402
from cosmos_lidar.errors import DataError  # noqa: E402
from cosmos_lidar.sensors.range_image import prepare_range_map  # noqa: E402
from energon_tasks.sweeps import lidar_loader  # noqa: E402
from energon_tasks.trace import trace_batch  # noqa: E402
from tests.energon_tasks.conftest import SENSOR, tiny_map  # noqa: E402
from tests.energon_tasks.mixes import KINDS, open_loader, write  # noqa: E402


@pytest.mark.parametrize("options", [
    {"split": "val", "batch_size": 4}, {"split": "train", "batch_size": 5},
    {"split": "train", "batch_size": 3, "temporal": True, "frames_per_clip": 2},
    pytest.param({"split": "train", "batch_size": 4, "num_workers": 2}, marks=pytest.mark.slow),
])  # fmt: skip
def test_the_bytes_at_the_traced_place_are_the_image_of_the_batch(shards: Path, options: dict) -> None:
    for number, batch in enumerate(lidar_loader(shards, **options)):
        traces = trace_batch(batch)
        assert len(traces) == len(batch.clip_ids)
        for item, (one, clip, frame) in enumerate(zip(traces, batch.clip_ids, batch.frame_ids, strict=True)):
            sample = one.sample
            assert (sample.folder, sample.splits, sample.clip) == (str(shards), (options["split"],), clip)
            assert (one.frame_id, one.frame_number) == (frame, int(frame))
            offset, size = sample.parts["ranges.bin"]
            with (shards / sample.shard).open("rb") as file:
                file.seek(offset)
                stored = decode_ranges(file.read(size), [sample.frame(frame)])[0]
            assert np.abs(stored - np.minimum(tiny_map(clip, int(frame)), 105)).max() < 0.002
            image = batch.images[item]
            first = image[:, 0] if options.get("temporal") else image
            assert torch.equal(first, torch.from_numpy(prepare_range_map(stored, SENSOR.format)))
        if number == 2:
            break


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "latents" else pytest.mark.slow) for kind in KINDS]
)
def test_batches_of_every_type_from_several_folders_are_traced(kind: str, tmp_path: Path) -> None:
    for name, samples in (("a", 5), ("b", 3)):
        write(kind, tmp_path / name, name, samples)
    seen = set()
    for batch in islice(open_loader(kind, f"{tmp_path / 'a'},{tmp_path / 'b'}"), 12):
        for one, key in zip(trace_batch(batch), batch.__key__, strict=True):
            folder = Path(one.sample.folder)
            seen.add(folder.name)
            assert key.startswith(folder.name)
            start, stop = one.sample.start, one.sample.stop
            assert key.encode() in (folder / one.sample.shard).read_bytes()[start:stop]
    assert seen == {"a", "b"}


def test_a_batch_without_sources_is_refused(shards: Path) -> None:
    batch = next(iter(lidar_loader(shards, "val", batch_size=2)))
    with pytest.raises(DataError, match="0 sources for 2 items"):
        trace_batch(replace(batch, __sources__=None))
