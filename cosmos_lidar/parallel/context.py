"""Context parallelism: self-attention over a sequence that is sharded over the context ranks, and the sharding.

Tokens are sharded once, in front of the first block, and joined once, behind the last: :class:`SequenceSplit`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.exchange import exchange_shares, gather_tensors

# (q, k, v) -> values of q; what follows is passed on to the attention of one rank, which then has all keys
Attend = Callable[..., Tensor]


class SequenceSplit:
    """Sequence sharding: an equal share of each view's tokens for every context rank, first by frames, then by space.

    Put in the place of a network's ``sequence`` attribute. Every context process sees the same input and, after
    :meth:`join`, the same output; a loss computed from it has its gradient summed over the ranks on the way back,
    so that the *mean* over ranks is the gradient of one rank (that mean is what sharded weights take).

    The ranks are gcd(ranks, frames) groups, each with its own frames of every view; the ranks of a group divide the
    tokens of each frame. So a rank has whole frames as long as there are enough, and modulation per frame works on it.
    """

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = group

    def split(self, views: int, frames: int = 1, **named: Tensor) -> dict[str, Tensor]:
        """Return this rank's share of each tensor (…, L, C), whose L tokens are laid view after view.

        Args:
            views: number of views.
            frames: of each view, one after the other; 1 divides the tokens of a view as they lie.
            **named: tensors, by names for the message.

        Raises:
            UserError: the tokens of one frame cannot be divided.
        """
        return {name: self._share(name, tensor, views, frames) for name, tensor in named.items()}

    def split_frames(self, views: int, frames: Tensor) -> Tensor:
        """Return this rank's frames of (B, views * T, C), which has one row for each frame."""
        per_view = frames.shape[1] // views
        groups, space = self._parts(per_view)
        parts = frames.unflatten(1, (views, groups, per_view // groups))
        return parts[:, :, self.group.rank() // space].flatten(1, 2)

    def join(self, views: int, tokens: Tensor, frames: int = 1) -> Tensor:
        """Return (B, L, C), L tokens in their order, from each rank's (B, L / n, C)."""
        return self.in_order(views, torch.cat(gather_tensors(tokens, self.group), dim=1), frames)

    def in_order(self, views: int, tokens: Tensor, frames: int = 1) -> Tensor:
        """Return (B, L, …) in the order of the tokens, of the shares of all ranks one after the other."""
        groups, space = self._parts(frames)
        parts = tokens.unflatten(1, (groups, space, views, frames // groups, -1))
        return parts.movedim((3, 1, 4, 2), (1, 2, 3, 4)).flatten(1, 5)

    def by_rank(self, views: int, tokens: Tensor, frames: int = 1) -> Tensor:
        """Undo :meth:`in_order`."""
        groups, space = self._parts(frames)
        per_frame = tokens.shape[1] // (views * frames)
        parts = tokens.unflatten(1, (views, groups, frames // groups, space, per_frame // space))
        return parts.movedim((2, 4, 1, 3), (1, 2, 3, 4)).flatten(1, 5)

    def own_frames(self, frames: int) -> tuple[int, int]:
        """Return the number of this rank's frames of a view, and the first of them."""
        groups, space = self._parts(frames)
        own = frames // groups
        return own, self.group.rank() // space * own

    def _parts(self, frames: int) -> tuple[int, int]:
        """Number of groups with frames of their own, and of ranks in each."""
        groups = math.gcd(self.group.size(), frames)
        return groups, self.group.size() // groups

    def _share(self, name: str, tensor: Tensor, views: int, frames: int) -> Tensor:
        groups, space = self._parts(frames)
        per_frame = tensor.shape[-2] // views // frames
        if per_frame % space:
            raise UserError(self._problem(name, per_frame, frames))
        parts = tensor.unflatten(-2, (views, groups, frames // groups, space, per_frame // space))
        group, place = divmod(self.group.rank(), space)
        return parts.select(-3, place).select(-4, group).flatten(-4, -2)

    def _problem(self, name: str, per_frame: int, frames: int) -> str:
        ranks = self.group.size()
        if frames == 1:
            return (
                f"parallel.context={ranks} does not divide the {per_frame} {name} of a view: choose a divisor, or "
                "another crop"
            )
        valid = [n for n in range(1, 2 * ranks + 1) if per_frame % (n // math.gcd(n, frames)) == 0]
        return (
            f"parallel.context={ranks} does not divide {frames} frames of {per_frame} {name} each; valid: "
            f"{', '.join(map(str, valid))}"
        )


def ulysses(attend: Attend, group: dist.ProcessGroup) -> Attend:
    """Return attention whose q, k, v (B, L / n, heads, D) hold a share of the tokens each.

    One all-to-all gives each rank all tokens of heads / n heads, another turns the result back (Jacobs et al. 2023,
    arXiv 2309.14509).
    """

    def attention(q: Tensor, k: Tensor, v: Tensor, *more: Any) -> Tensor:
        q, k, v = exchange_shares(torch.stack([q, k, v]), group, 3, 2)
        return exchange_shares(attend(q, k, v, *more)[None], group, 2, 3)[0]

    return attention


def gather(attend: Attend, group: dist.ProcessGroup) -> Attend:
    """Return attention in which each rank has the queries of its own tokens and all keys and values; any head count."""

    def attention(q: Tensor, k: Tensor, v: Tensor, *more: Any) -> Tensor:
        k, v = torch.cat(gather_tensors(torch.stack([k, v]), group), dim=2)
        return attend(q, k, v, *more)

    return attention


def ring(attend: Attend, group: dist.ProcessGroup) -> Attend:
    """Return attention in which keys and values are passed from rank to rank (Liu et al. 2023, arXiv 2310.01889).

    TransformerEngine's where it is installed, else PyTorch's; both need CUDA.

    Raises:
        UserError: no CUDA device.
    """
    if not torch.cuda.is_available():
        raise UserError("parallel.attention=ring needs CUDA devices: choose ulysses or gather")
    try:
        return _te_ring(group)
    except Exception:  # a half-installed TransformerEngine raises RuntimeError and others
        return _torch_ring(group)


BACKENDS: dict[str, Callable[[Attend, dist.ProcessGroup], Attend]] = {
    "ulysses": ulysses, "gather": gather, "ring": ring,
}  # fmt: skip


def _te_ring(group: dist.ProcessGroup) -> Attend:
    """TransformerEngine's attention with point-to-point exchange; built at the first call, when the heads are known."""
    from transformer_engine.pytorch import DotProductAttention

    made: dict[tuple[int, int], torch.nn.Module] = {}
    ranks = dist.get_process_group_ranks(group)

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads, dim = q.shape[-2:]
        if (heads, dim) not in made:
            module = DotProductAttention(heads, dim, qkv_format="bshd", attn_mask_type="no_mask")
            module.set_context_parallel_group(group, ranks, torch.cuda.Stream(), cp_comm_type="p2p")
            made[heads, dim] = module
        return made[heads, dim](q, k, v).unflatten(-1, (heads, dim))

    return attention


def _torch_ring(group: dist.ProcessGroup) -> Attend:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor.experimental import context_parallel
    from torch.nn.functional import scaled_dot_product_attention

    mesh = DeviceMesh.from_group(group, "cuda")

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with context_parallel(mesh):
            out = scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return out.transpose(1, 2)

    return attention
