"""AdamW whose update is apex's fused kernel (``kernels.optimizer=apex``), with the state of torch's AdamW.

Checkpoints are the same: a run may change between the two when it resumes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.clip import local_part

Lists = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]  # gradients, parameters, moments


class FusedAdamW(torch.optim.Optimizer):
    """Apex's AdamW for plain and sharded parameters; each rank updates its shards.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        betas: decay of the moments.
        eps: added to the root of the second moment.
        weight_decay: decoupled.

    Raises:
        UserError: a parameter of another type than float32: the kernel keeps moments in that type alone.
    """

    def __init__(
        self, params: Any, lr: float, betas: tuple[float, float], eps: float, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        dtypes = {parameter.dtype for group in self.param_groups for parameter in group["params"]}
        if others := dtypes - {torch.float32}:
            raise UserError(f"kernels.optimizer=apex: parameters of {min(map(str, others))}; valid: torch.float32")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient."""
        from cosmos_lidar.kernels import apex_ops

        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            settings = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
            for step, lists in self._lists(group["params"]).items():
                apex_ops.adamw(lists, step, **settings)
        return loss

    def _lists(self, parameters: list[Tensor]) -> dict[int, Lists]:
        """Count the step of each parameter; returns (gradients, parameters, moments) by step."""
        trained = [parameter for parameter in parameters if parameter.grad is not None]
        if not trained:
            return {}
        states = [self._state(parameter) for parameter in trained]
        counts = [local_part(state["step"]) for state in states]
        torch._foreach_add_(counts, 1)
        found: dict[int, Lists] = {}
        for parameter, state, step in zip(trained, states, torch.stack(counts).tolist(), strict=True):
            assert parameter.grad is not None  # chosen above
            parts = [local_part(one) for one in (parameter.grad, parameter, state["exp_avg"], state["exp_avg_sq"])]
            if not parts[0].numel():
                continue  # a shard without elements
            lists = found.setdefault(int(step), ([], [], [], []))
            for one, part in zip(lists, parts, strict=True):
                one.append(part)
        return found

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state
