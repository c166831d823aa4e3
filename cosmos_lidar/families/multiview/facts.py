"""Options of multi-view video diffusion that its data determines: the shape of the latents, and of the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.dit.facts import latents_facts
from cosmos_lidar.training.data_facts import DataFact

if TYPE_CHECKING:
    from cosmos_lidar.families.multiview.config import MultiviewDataConfig

_ENCODED_BY = {"multiview": "videos, not latents: give data.vae.checkpoint=vae.pth"}


def latents_of_views(
    data: MultiviewDataConfig, with_rays: bool = False, controls: Sequence[str] = ()
) -> dict[str, DataFact]:
    """Return ``data.latent_shape`` and ``data.text_shape`` of the latents in ``data.path``, for the views that are set.

    Args:
        data: options of the run.
        with_rays: the network wants the rays of the cameras.
        controls: kinds of control videos that it takes.

    Raises:
        DataError: they are not on this machine, or cannot be read.
        UserError: folders whose latents differ, lack rays or control videos that are wanted, or have frames or text
            that the views do not divide.
    """
    found, where = latents_facts(data, _ENCODED_BY)
    if found.latent is None:
        return {}
    channels, frames, height, width = found.latent
    rows, *text_width = found.text or (0,)
    if frames % data.views or rows % data.views:
        raise UserError(
            f"data.view_ids={data.view_ids}: {data.views} views do not divide the {frames} latent frames and {rows} "
            f"rows of text of the clips in {where}"
        )
    if with_rays:
        from cosmos_lidar.families.multiview.rays import check_ray_shape  # needs torch, options do not

        try:
            check_ray_shape(found.rays, data.views, (height, width), file=where)
        except DataError as error:
            raise UserError(str(error)) from error
    known = list(found.document.get("controls", []))
    if controls and list(controls) != known:
        raise UserError(
            f"model.control.kinds={list(controls)}: control videos of the latents in {where}: {known} "
            "(`cosmos-lidar encode-clips … --options model.control.kinds=[…]` writes them)"
        )
    shapes = {"data.latent_shape": [channels, frames // data.views, height, width]}
    shapes["data.text_shape"] = [rows // data.views, *text_width] if rows else []
    return {key: DataFact(shape, where) for key, shape in shapes.items()}
