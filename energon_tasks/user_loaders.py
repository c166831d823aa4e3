"""Energon's crude dataset with the user's sample loader between the tar and the cooker."""

from __future__ import annotations

from typing import Any

from megatron.energon import CrudeWebdataset
from megatron.energon.epathlib import EPath
from megatron.energon.flavors.webdataset.structs import FilteredSample

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.sample_loader import SampleLoader
from energon_tasks.damaged import damage, is_damaged


class UserLoadedWebdataset(CrudeWebdataset):
    """A crude dataset whose samples have the parts that a function of the user returns.

    Energon itself takes a ``sample_loader`` for typed samples only, such as ``ImageSample``.

    Args:
        path: folder of shards.
        loader: what ``dataset.yaml`` names, trusted by the user.
        **options: of :class:`megatron.energon.CrudeWebdataset`.
    """

    def __init__(self, path: EPath, loader: SampleLoader, **options: Any) -> None:
        super().__init__(path, part_filter=loader.reads, **options)
        self._user_loader = loader

    def load_sample(self, sample: FilteredSample) -> Any:
        """Return the crude sample that the user's function makes of the parts; where it fails, one that is refused."""
        if is_damaged(sample):
            return super().load_sample(sample)
        own = {name: value for name, value in sample.items() if name.startswith("__")}
        try:
            made = self._user_loader(sample)
        except DataError as error:  # not raised here, where Energon does not say of which sample it is
            made = damage(error.problem, error.wanted)
        return super().load_sample(FilteredSample(**made | own))
