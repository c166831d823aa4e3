"""Time of the ball query of the occupancy pretext task, beside that of a k-d tree.

    python benchmarks/ball_query.py nuscenes=path/to/nuscenes@0.1@16384@2048 kitti=path/to/kitti@0.05@80000@4096

Of one sweep of each dataset (default: a synthetic street), one point per cell of the size after ``@`` in meters stays;
then follow the largest number of points and the number of queries. All pairs within 1 m are searched for by the voxel
hash and by scipy's cKDTree (built and queried), then with at most 32 neighbors of a query: at random, the nearest, by
index. Times are the shortest of the repeats, in seconds of processor time of all threads, which other programs hardly
change.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

import numpy as np
import torch
from scipy.spatial import cKDTree
from sparse_conv import Clock, read_points
from tables import row, table_head
from torch import Tensor

from cosmos_lidar.losses.occupancy_queries import pretext_sweep
from cosmos_lidar.models.sparse.neighbors import ball_neighbors

RADIUS_M, EVERY = 1.0, 1 << 40
COLUMNS = (
    "sweep", "sources", "queries", "pairs", "k-d tree", "voxel hash", "ratio", "random 32", "nearest 32", "first 32",
)  # fmt: skip


def search(queries: Tensor, sources: Tensor, **options: object) -> Tensor:
    """Return the queries of the pairs."""
    clouds = [torch.zeros(len(points), dtype=torch.int64) for points in (queries, sources)]
    return ball_neighbors(queries, clouds[0], sources, clouds[1], RADIUS_M, **options).queries


def tree(queries: np.ndarray, sources: np.ndarray) -> object:
    """Return the sources near each query."""
    return cKDTree(sources).query_ball_point(queries, RADIUS_M)


def measure(dataset: str, repeats: int) -> list[str]:
    """Return the cells of a row of the table."""
    name, size, most, count = (*dataset.split("@"), *("", "0.1", "16384", "2048")[dataset.count("@") + 1 :])
    points = torch.from_numpy(np.ascontiguousarray(read_points(name)[0], np.float32))
    generator = torch.Generator().manual_seed(0)
    none = torch.zeros(len(points), 1)
    sweep = pretext_sweep(points, none, int(count), int(most), float(size), generator=generator)
    queries, sources = sweep.queries.points, sweep.points
    clock = Clock(repeats, "cpu")
    _, by_tree = clock(partial(tree, queries.numpy(), sources.numpy()))
    _, by_hash = clock(partial(search, queries, sources, most=EVERY))
    capped = [clock(partial(search, queries, sources, choice=one))[1] for one in ("random", "nearest", "index")]
    pairs = len(search(queries, sources, most=EVERY))
    times = [f"{by_tree:.4f}", f"{by_hash:.4f}", f"{by_hash / by_tree:.2f}", *(f"{one:.4f}" for one in capped)]
    return [name.partition("=")[0], str(len(sources)), str(len(queries)), str(pairs), *times]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    described = "synthetic, or FORMAT=PATH, @CELL@POINTS@QUERIES"
    parser.add_argument("datasets", nargs="*", default=["synthetic"], help=described)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    out = sys.stdout.write
    out(f"torch {torch.__version__}, {args.threads} threads, CPU, processor seconds, best of {args.repeats}\n\n")
    out(table_head(*COLUMNS))
    for dataset in args.datasets:
        out(row(*measure(dataset, args.repeats)))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
