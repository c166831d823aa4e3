"""Which samples a task encoder cooks: those of its type, and those of folders that do not name a type."""

from __future__ import annotations

from typing import Any

from megatron.energon import Cooker

from energon_tasks.damaged import refuse_damaged


class TypedCooker(Cooker):
    """A cooker for samples whose subflavors name its ``sample_type``, or none.

    ``dataset.yaml`` of ``cosmos-lidar prepare`` names the type. That of ``energon prepare`` does not, and Energon's own
    loader would find no cooker for it. Samples of another type are left to the error that Energon raises for them.

    Args:
        cook: crude sample -> sample.
        sample_type: such as ``lidar``.
    """

    def __init__(self, cook: Any, sample_type: str) -> None:
        super().__init__(refuse_damaged(cook), has_subflavors={"sample_type": sample_type})
        self.sample_type = sample_type

    def is_match(self, subflavors: dict[str, Any]) -> bool:
        """Return whether samples with these subflavors are cooked."""
        return subflavors.get("sample_type", self.sample_type) == self.sample_type
