"""What a published Predict2 checkpoint holds beside the weights: tables of positions and counters of its training."""

from __future__ import annotations

import torch
from torch import Tensor

from cosmos_lidar.models.dit.embeddings import split_three
from cosmos_lidar.models.dit.predict2.config import Predict2Config

PREFIXES = ("accum_", "pos_embedder.", "pos_embedder_options.")
_COUNTERS = ("accum_video_sample_counter", "accum_image_sample_counter", "accum_iteration")


def published_buffers(config: Predict2Config) -> dict[str, Tensor]:
    """Return the buffers of a published checkpoint by name: its own loader leaves out nothing that it does not find.

    The multi-view network has one table of positions for each number of cameras, all of them equal.
    """
    time, space, _ = split_three(config.head_dim)
    table = {
        "seq": torch.arange(max(config.table), dtype=torch.float32),
        "dim_spatial_range": torch.arange(0, space, 2, dtype=torch.float32) / space,
        "dim_temporal_range": torch.arange(0, time, 2, dtype=torch.float32) / time,
    }
    cameras = range(1, config.n_cameras_emb + 1) if config.concat_view_embedding else ()
    owners = [f"pos_embedder_options.n_cameras_{count}" for count in cameras] or ["pos_embedder"]
    buffers = {f"{owner}.{name}": value.clone() for owner in owners for name, value in table.items()}
    counters = {name: torch.zeros((), dtype=torch.int64) for name in _COUNTERS}
    return buffers | counters | {"accum_train_in_hours": torch.zeros(())}
