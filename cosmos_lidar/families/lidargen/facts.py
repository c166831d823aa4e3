"""Options of camera-to-lidar diffusion that its data determines: cameras, and sizes of latents on the canvas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.facts import latents_facts, shape_facts
from cosmos_lidar.training.data_facts import DataFact

if TYPE_CHECKING:
    from cosmos_lidar.families.lidargen.canvas import CanvasLayout
    from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig

_ENCODED_BY = {"views": "images, not latents: give data.tokenizers.lidar and data.tokenizers.image"}


def canvas_of_latents(run: LidarGenTrainConfig) -> dict[str, DataFact]:
    """Return the canvas of the latents in ``data.path``, as ``encode-views`` recorded it.

    Raises:
        DataError: they are not on this machine, or cannot be read.
        UserError: folders whose latents differ, or latents without the rays or backbone features that are needed.
    """
    found, where = latents_facts(run.data, _ENCODED_BY)
    if run.model.rays and found.latent is not None and found.rays is None:
        hint = "`encode-views` writes them where calibrations are known; model.rays=false does without"
        raise UserError(f"model.rays=true contradicts the data, which has no rays ({where}): {hint}")
    facts = shape_facts(found, where)
    if found.latent is not None:
        facts["model.n_views"] = DataFact(found.latent[1], where)
    if run.model.alignment.weight:
        if found.latent is not None and found.alignment is None:
            hint = "encode them again, cosmos-lidar encode-views --alignment FILE, or model.alignment.weight=0"
            raise UserError(f"model.alignment.weight: no features of a lidar backbone in the data ({where}): {hint}")
        if found.alignment is not None:
            facts["model.alignment.channels"] = DataFact(found.alignment[-1], where)
    canvas = found.document.get("canvas", {})
    return facts | {f"model.canvas.{name}": DataFact(value, where) for name, value in canvas.items()}


def canvas_of_frames(run: LidarGenTrainConfig) -> dict[str, DataFact]:
    """Return the canvas that the frames in ``data.path`` and the tokenizers of ``data.tokenizers`` make.

    Raises:
        DataError: the frames are not on this machine, or a file cannot be read.
        UserError: folders whose frames differ.
    """
    from cosmos_lidar.families.lidargen.views import FrameViews
    from cosmos_lidar.models.tokenizer.pretrained import from_pretrained
    from cosmos_lidar.shards.sources import resolve
    from cosmos_lidar.shards.views import VIEWS, read_views_facts

    sources = resolve(run.data.path, run.data.train_split, run.data.trust_sample_loaders)
    found = read_views_facts(sources)
    lidar, image = (from_pretrained(path).config for path in (run.data.tokenizers.lidar, run.data.tokenizers.image))
    views = FrameViews(
        cameras=found.cameras,
        image_size=found.image_size,
        lidar_step=lidar.spatial_compression,
        image_step=image.spatial_compression,
    )
    where = sources.folders[0] / VIEWS
    layout = views.layout(found.sensor)
    shape = [lidar.latent_channels, 1 + layout.views, *layout.size]
    return layout_facts(layout, shape, where if where.is_file() else where.parent)


def layout_facts(layout: CanvasLayout, latent_shape: list[int], where: Path) -> dict[str, DataFact]:
    """Return the options that describe a canvas."""
    values = {
        "model.canvas.views": layout.views,
        "model.canvas.lidar": list(layout.lidar),
        "model.canvas.image": list(layout.image),
        "model.n_views": 1 + layout.views,
        "data.latent_shape": latent_shape,
    }
    return {key: DataFact(value, where) for key, value in values.items()}
