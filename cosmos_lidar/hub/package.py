"""Folders of models as the Hub has them: safetensors, configuration, model card, preview picture, license."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar._checkout import ROOT
from cosmos_lidar.bounds import read_file
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import atomic_write, write_json
from cosmos_lidar.hub.card import CardFacts, make_card
from cosmos_lidar.hub.opening import OpenedModel
from cosmos_lidar.hub.results import Results, read_results
from cosmos_lidar.models.dit import GeneralDiT
from cosmos_lidar.models.dit.predict2 import Predict2DiT
from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.models.wan_vae import CONFIGS, WanVAE
from cosmos_lidar.runs.samples import read_sample, read_samples
from cosmos_lidar.weights import CARD, CONFIG, FILE, SHORT, is_embedded

LICENSE, PREVIEW = "LICENSE", "preview.jpg"
DTYPES = ("float32", "bfloat16", "float16")
APACHE = "apache-2.0"
RANDOM = "random weights"
_LARGEST_LICENSE = 1 << 20  # bytes
_STARTS = ("checkpoint", "checkpoint_dir", "jit_ckpt_pth")  # options of ``model`` that name weights to start from
_SECTIONS = ("family", "recipe", "model", "data", "optim", "trainer")  # of a run's options


@dataclass(frozen=True)
class PackageOptions:
    """What a folder is to hold besides the weights.

    Attributes:
        name: of the repository, ``org/name``.
        dtype: of the stored weights; empty: as before, float32 where that is unknown.
        license: identifier; empty: that of the weights, or Apache-2.0 where training started from nothing else.
        license_file: its text; None: that of Apache-2.0 where it is the license.
        metrics: JSON files of evaluations.
        preview: picture or video; None: the newest sample of the run.
        summary: a paragraph for the card.
    """

    name: str
    dtype: str = ""
    license: str = ""
    license_file: Path | None = None
    metrics: Sequence[Path] = ()
    preview: Path | None = None
    summary: str = ""


def write_package(opened: OpenedModel, origin: Path, folder: Path, options: PackageOptions) -> list[Path]:
    """Write ``model.safetensors``, ``config.json``, ``README.md`` and, where there are ones, preview and license.

    Args:
        opened: the model.
        origin: the checkpoint that it comes from, for samples of its run.
        folder: new, empty, or of an earlier call.
        options: what else it holds.

    Returns:
        The files.

    Raises:
        DataError: results, picture or license text that cannot be read.
        UserError: a folder with other files, an unknown license, or weights that the type does not hold.
    """
    _check_folder(folder)
    license_name, results = license_of(opened, options.license), [read_results(file) for file in options.metrics]
    text = _license_text(license_name, options.license_file)
    preview = _preview(origin, options.preview)
    options = replace(options, dtype=options.dtype or (opened.dtype if opened.dtype in DTYPES else DTYPES[0]))
    state = _state(opened.network, getattr(torch, options.dtype))
    folder.mkdir(parents=True, exist_ok=True)
    files = [_write_weights(folder / FILE, state)]
    config = _config(opened) | {"dtype": options.dtype, "license": license_name}
    write_json(folder / CONFIG, config)
    files.append(folder / CONFIG)
    for name, content in (
        (PREVIEW, preview),
        (LICENSE, text),
        (CARD, _card(opened, options, license_name, results, bool(preview))),
    ):
        if content:
            files.append(folder / name)
            with atomic_write(files[-1]) as partial:
                partial.write_bytes(content)
        else:
            (folder / name).unlink(missing_ok=True)  # of an earlier call
    return files


def license_of(opened: OpenedModel, given: str) -> str:
    """Return the license of a model: the given one, its own, or Apache-2.0 where it was trained from nothing else.

    Raises:
        UserError: training started from weights whose license is not known here.
    """
    if given or opened.license:
        return (given or opened.license).lower()
    start = start_of(opened.options)
    if start in (RANDOM, SHORT) or _is_embedded_start(opened.options):
        return APACHE
    what = f"training started from {start}" if start else "these weights come from elsewhere"
    raise UserError(f"--license: {what}; name the license of the weights, such as {APACHE} or other")


def public_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a run without places of files, which are of no use elsewhere."""
    return {key: kept for key in _SECTIONS if key in options and (kept := _without_paths(options[key])) is not None}


def _without_paths(value: Any) -> Any:
    """Return a value of options, None where it is the place of a file."""
    if isinstance(value, Mapping):
        kept = {key: _without_paths(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner is not None or value[key] is None}
    if isinstance(value, list):
        return value if all(_without_paths(inner) is not None or inner is None for inner in value) else None
    return None if isinstance(value, str) and ("/" in value or "\\" in value) else value


def start_of(options: Mapping[str, Any]) -> str:
    """Return the name of the weights that a run started from: :data:`RANDOM`, that of a model, or empty if unknown."""
    model = options.get("model")
    values = [str(model[key] or "") for key in _STARTS if key in model] if isinstance(model, Mapping) else []
    if not values:
        return ""
    return next((Path(value).name for value in values if value), RANDOM)


def _is_embedded_start(options: Mapping[str, Any]) -> bool:
    model = options.get("model")
    return isinstance(model, Mapping) and any(is_embedded(str(model.get(key) or "")) for key in _STARTS)


def _check_folder(folder: Path) -> None:
    own = {FILE, CONFIG, CARD, PREVIEW, LICENSE}
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file; expected a folder for the model")
    others = sorted(path.name for path in folder.iterdir() if path.name not in own) if folder.is_dir() else []
    if others or (folder.is_dir() and (folder / CARD).is_file() and not (folder / FILE).is_file()):
        raise UserError(f"{folder}: has other files ({', '.join(others[:3]) or CARD}); expected a new folder")


def _state(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the weights of a network in a type.

    Raises:
        UserError: they do not fit into the type.
    """
    state = {}
    for name, value in network.state_dict().items():
        tensor = value.detach().to("cpu", dtype) if value.is_floating_point() else value.detach().cpu()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"--dtype {str(dtype).removeprefix('torch.')}: {name} has values beyond it")
        state[name] = tensor.contiguous()
    return state


def _write_weights(file: Path, state: dict[str, Tensor]) -> Path:
    from safetensors.torch import save_file

    with atomic_write(file, sync=True) as partial:
        save_file(state, partial, {"format": "pt"})
    return file


def _config(opened: OpenedModel) -> dict[str, Any]:
    """Return family, options of the run, and the network's shape where its weights do not determine it."""
    config: dict[str, Any] = {"family": opened.family}
    network = opened.network
    if isinstance(network, (GeneralDiT, Predict2DiT)):
        name = "faditv2_7b" if isinstance(network, GeneralDiT) else "predict2_2b_video2world"
        config["network"] = {"name": name, **asdict(network.config)}  # all fields: the name is that of the kind
    if isinstance(network, WanVAE):
        if network.config != replace(CONFIGS["wan2_1"], dim=network.config.dim):
            raise UserError(
                "a VAE of a shape or latent statistics of its own: `cosmos-lidar export --format diffusers` keeps them"
            )
        config["network"] = {"name": "wan2_1", "dim": network.config.dim}
    if opened.options:
        config["run"] = public_options(opened.options)
    return config


def _preview(origin: Path, given: Path | None) -> bytes:
    """Return the given picture as JPEG, or the newest sample of the run; nothing where there is none."""
    if given is None:
        if not (origin / "config.yaml").is_file():  # no checkpoint of a run
            return b""
        samples = read_samples(origin.resolve().parent.parent, 1)[0]  # of iter_N in checkpoints/
        return samples[0].jpeg if samples else b""
    if not given.is_file():
        raise DataError("no such file", file=given, wanted="a picture or an mp4 for --preview")
    try:
        return read_sample(given, given.name).jpeg
    except UserError:
        raise
    except Exception as error:  # of what reads pictures and videos
        raise DataError(f"not readable: {error!s:.120}", file=given, wanted="a PNG, JPEG, WebP or mp4") from error


def _license_text(name: str, file: Path | None) -> bytes:
    if file is not None:
        try:
            return read_file(file, "a license", _LARGEST_LICENSE)
        except OSError as error:
            raise DataError(f"not readable: {error.strerror}", file=file, wanted="the text of the license") from error
    if name != APACHE:
        return b""
    if (ROOT / LICENSE).is_file():
        return (ROOT / LICENSE).read_bytes()
    try:
        installed = distribution("cosmos_lidar")
    except PackageNotFoundError:
        return b""
    return (installed.read_text(f"licenses/{LICENSE}") or installed.read_text(LICENSE) or "").encode()


def _card(
    opened: OpenedModel, options: PackageOptions, license_name: str, results: list[Results], preview: bool
) -> bytes:
    facts = CardFacts(
        name=options.name,
        family=opened.family,
        network=type(opened.network).__name__,
        parameters=count_parameters(opened.network),
        dtype=options.dtype,
        license=license_name,
        options=opened.options,
        start=start_of(opened.options),
        step=opened.step,
        results=results,
        preview=PREVIEW if preview else "",
        summary=options.summary,
    )
    return make_card(facts).encode()
