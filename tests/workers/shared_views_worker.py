"""One of several processes: clips of several cameras, encoded together, compared with one process.

``torchrun --standalone --nproc_per_node=N shared_views_worker.py CACHE`` prints, from rank 0, one JSON line
{clip: {difference, encoded views of all ranks, of a second time}}.
"""

from __future__ import annotations

import json
import sys

import torch
import torch.distributed as dist

from cosmos_lidar.errors import DataError
from cosmos_lidar.latents.cache import LatentCache
from cosmos_lidar.latents.shared_views import encode_views_shared
from cosmos_lidar.latents.video_space import VideoEncoding, VideoLatentSpace
from tests.models.wan_vae.reference import small_vae


def misses(space: VideoLatentSpace) -> float:
    """Return how many views all ranks have encoded so far."""
    count = torch.tensor(float(space.cache.misses))
    dist.all_reduce(count)
    return float(count)


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    group, results = dist.group.WORLD, {}
    for views, frames in ((1, 1), (2, 5), (3, 5), (5, 6)):
        generator = torch.Generator().manual_seed(views)
        videos = torch.randint(0, 256, (views, 3, frames, 16, 24), generator=generator, dtype=torch.uint8)
        space = VideoLatentSpace(small_vae(), LatentCache(sys.argv[1]), VideoEncoding(trim=True))
        z = encode_views_shared(space, videos, group)
        first = misses(space)
        again = encode_views_shared(space, videos, group)
        wanted = VideoLatentSpace(small_vae(), None, VideoEncoding(trim=True)).encode(videos)
        difference = max(float((found - wanted).abs().max()) for found in (z, again))
        results[f"{views} views"] = {"difference": difference, "encoded": first, "again": misses(space) - first}
    try:
        encode_views_shared(VideoLatentSpace(small_vae()), videos, group)
        raise AssertionError("six frames fill no latents")
    except DataError:
        results["refused"] = {"difference": 0.0}
    if dist.get_rank() == 0:
        sys.stdout.write(json.dumps(results) + "\n")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
