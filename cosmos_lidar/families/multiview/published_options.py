"""Published options of multi-view generation that choose network and image size, as options of the configuration."""

from __future__ import annotations

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.multiview.config import MultiviewTrainConfig

_NETWORKS = {"2B": "predict2_2b_multiview"}
_SIZES = {"720": (704, 1280), "480": (480, 848)}  # images of 16:9, (height, width)
_RATIO = "16:9"
_STEP = 8  # pixels of a latent


def check_model_size(model_size: str, run: MultiviewTrainConfig) -> None:
    """Refuse a size of the network that its configuration does not have.

    Args:
        model_size: ``2B``, as published; empty: that of the configuration.
        run: configuration of the checkpoint.

    Raises:
        UserError: another size; the message names what chooses the network.
    """
    if not model_size:
        return
    how = "the configuration of the checkpoint chooses the network; without one, model.name=NAME after --"
    if model_size not in _NETWORKS:
        raise UserError(f"--model_size {model_size}: valid: {', '.join(_NETWORKS)}; {how}")
    if run.model.name != _NETWORKS[model_size]:
        raise UserError(f"--model_size {model_size}: this is a checkpoint of {run.model.name}; {how}")


def size_overrides(resolution: str, aspect_ratio: str, run: MultiviewTrainConfig) -> list[str]:
    """Return the options of the configuration for images of a published size.

    Args:
        resolution: ``720`` (704 x 1280) or ``480`` (480 x 848); empty: the size of the configuration.
        aspect_ratio: ``16:9``, as published; empty: any.
        run: configuration of the checkpoint.

    Raises:
        UserError: another value, or a configuration of another aspect ratio; the message names the option of the size.
    """
    channels, frames, *_ = run.data.latent_shape
    how = f"other sizes: data.latent_shape=[{channels},{frames},HEIGHT/{_STEP},WIDTH/{_STEP}] after --"
    if aspect_ratio not in ("", _RATIO):
        raise UserError(f"--aspect_ratio {aspect_ratio}: valid: {_RATIO}; {how}")
    if resolution and resolution not in _SIZES:
        raise UserError(f"--resolution {resolution}: valid: {', '.join(_SIZES)}; {how}")
    if resolution:
        height, width = _SIZES[resolution]
        return [f"data.latent_shape=[{channels},{frames},{height // _STEP},{width // _STEP}]"]
    if aspect_ratio and run.data.size not in _SIZES.values():
        height, width = run.data.size
        raise UserError(
            f"--aspect_ratio {aspect_ratio}: images of this configuration are {height} x {width}; add --resolution "
            f"{' or '.join(_SIZES)}, or leave it out"
        )
    return []
