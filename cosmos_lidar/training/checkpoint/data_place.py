"""Where a run resumes in its data: the same share on any mesh, or shares of other ranks where the loader can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.training.checkpoint.state_tree import from_plain


@dataclass(frozen=True)
class DataSource:
    """The training data of this rank, as checkpoints see it.

    Attributes:
        loader: Energon's savable training loader.
        workers: its reader processes.
        sizes: of the mesh.
        restart: options of the data changed, and it begins a new shuffle.
    """

    loader: Any
    workers: int
    sizes: MeshSizes
    restart: bool = False


def can_resume(saved: MeshSizes, saved_workers: int, sizes: MeshSizes, workers: int) -> bool:
    """Tell whether a run on ``sizes`` with ``workers`` has the readers of one on ``saved``: data ranks x workers.

    A rank without worker processes reads for itself, and its place is no place of a worker.
    """
    same = (saved.data, saved_workers) == (sizes.data, workers)
    return same or (saved_workers * workers > 0 and saved.data * saved_workers == sizes.data * workers)


def resume_data(state: dict[str, Any], data: DataSource, rank: int) -> Any:
    """Set the loader of rank ``rank`` to the next sample, and return its random state; None for a new one.

    On another mesh with as many data ranks, place and random state are those of a rank that read the same share.

    Args:
        state: of the checkpoint.
        data: of this rank.
        rank: global.

    Raises:
        UserError: the loader cannot resume with the next sample, and ``trainer.restart_data`` is not set.
    """
    saved, sizes, ranks = MeshSizes(**state["mesh"]), data.sizes, state["ranks"]
    if data.restart:
        if rank == 0:
            logger.warning("trainer.restart_data=true: the data order is reshuffled")
        return None
    if saved.data == sizes.data and state["workers"] == data.workers:
        own = ranks[rank] if saved == sizes else _ranks_of_share(ranks, saved, sizes.data_rank(rank))[0]
        data.loader.restore_state_rank(from_plain(own["loader"]))
        return own["random"]
    if not hasattr(data.loader, "restore_state_of_ranks"):
        before, now = f"{saved.data} data ranks x {state['workers']}", f"{sizes.data} x {data.workers}"
        raise UserError(
            f"the checkpoint is of {before} data.workers, this run has {now}: {type(data.loader).__name__} cannot "
            "resume with the next sample; trainer.restart_data=true begins a new shuffle"
        )
    places = [_ranks_of_share(ranks, saved, share)[0]["loader"] for share in range(saved.data)]
    data.loader.restore_state_of_ranks([from_plain(place) for place in places])
    return ranks[rank]["random"] if rank < len(ranks) else None


def _ranks_of_share(ranks: list[Any], sizes: MeshSizes, share: int) -> list[Any]:
    return [own for number, own in enumerate(ranks) if sizes.data_rank(number) == share]
