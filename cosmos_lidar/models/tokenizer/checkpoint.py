"""Loading of tokenizers: TorchScript pairs, training checkpoints, safetensors; never partially.

The network is built from the names and shapes found in the file, never from the file's name: the published lidar
decoder, for one, has attention blocks that its name does not imply.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import read_tensors
from cosmos_lidar.models.deferred import InitialWeights, build_deferred
from cosmos_lidar.models.diffusers_folder import class_in
from cosmos_lidar.models.sharded_safetensors import files_of_index, index_in, is_index
from cosmos_lidar.models.stored_weights import StoredWeights
from cosmos_lidar.models.tokenizer.config import TokenizerConfig
from cosmos_lidar.models.tokenizer.diffusers import CLASS, read_diffusers
from cosmos_lidar.models.tokenizer.infer import FIXED_BUFFERS, infer_config, split_unused
from cosmos_lidar.models.tokenizer.network import Tokenizer, make_tokenizer
from cosmos_lidar.models.tokenizer.range_coding import BUFFER, PUBLISHED
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig
from cosmos_lidar.models.torchscript import mapped_torchscript
from cosmos_lidar.models.wrapped_weights import check_checksums, read_weights, split_ema, unwrap, weights_of
from cosmos_lidar.torch_files import is_zip

State = dict[str, Tensor]
_PAIR = ("encoder.jit", "decoder.jit")
_WHOLE = ("autoencoder.jit", "autoencoder.pt", "model.pt", "model.safetensors")
_WANTED = "a tokenizer: encoder.jit and decoder.jit, autoencoder.jit, autoencoder.pt, iter_N.pt, .safetensors, .nemo"


def load_tokenizer(
    source: str | Path | tuple[str | Path, str | Path] | list[str | Path], ema: bool = False
) -> Tokenizer:
    """Return the tokenizer in a file, a pair of files or a folder, in float32 on the CPU, in eval mode.

    Args:
        source: a folder holding the published files or Diffusers' ``AutoencoderKLCosmos``, one whole file, or (encoder,
            decoder). A file named ``…encoder.jit`` or ``…_enc.jit`` is loaded with the decoder beside it.
        ema: of a training checkpoint that holds both, take the EMA weights.

    Raises:
        DataError: missing or broken file, one of a pair missing, another kind of network, tensors that do not fit; it
            names the missing and the unexpected keys, and nothing is loaded partially.
    """
    state, files = _read_all(source, ema)
    where = _names(files)
    network = make_tokenizer(infer_config(state, where))
    state = split_unused(state, network.state_dict())
    _check(network, state, where)
    _check_values(network.state_dict(), StoredWeights(state, files), where)
    network.load_state_dict(state, strict=False)  # what may be absent are computed buffers, checked above
    return network.float().eval()


def open_tokenizer(
    source: str | Path | tuple[str | Path, str | Path] | list[str | Path],
    coding: tuple[str, bool] | None = None,
) -> tuple[Tokenizer, list[StoredWeights | InitialWeights]]:
    """Open the same files without reading the weights into memory.

    Random numbers are consumed as by :func:`load_tokenizer`.

    Args:
        source: as of :func:`load_tokenizer`.
        coding: of range images, and whether a scale is decoded, in place of what the file has.

    Returns:
        (network with its parameters on the meta device, in eval mode; where its weights come from, the first one that
        has a name).

    Raises:
        DataError: likewise; every tensor of the files is looked at.
        UserError: a tokenizer of videos, which have the published coding alone.
    """
    state, files = _read_all(source, ema=False)
    where = _names(files)
    config = infer_config(state, where)
    if coding is not None:
        config, state = _recoded(config, coding), {key: value for key, value in state.items() if key != BUFFER}
    network, initial = build_deferred(lambda: make_tokenizer(config))
    state = split_unused(state, network.state_dict())
    _check(network, state, where)
    stored = StoredWeights(state, files)
    _check_values(network.state_dict(), stored, where)
    return network.eval(), [stored, *initial]


def _recoded(config: TokenizerConfig | VideoTokenizerConfig, coding: tuple[str, bool]) -> Any:
    if isinstance(config, TokenizerConfig):
        return replace(config, coding=coding[0], scale=coding[1])
    if coding[0] != PUBLISHED:
        raise UserError(f"coding={coding[0]} of a {config.family} tokenizer; valid: {PUBLISHED}")
    return config


def load_mean_std(path: str | Path) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the latent channels, each (16,) float32, of a ``mean_std.pt``.

    Raises:
        DataError: not a pair of tensors with 16 values each.
    """
    wanted = "a pair (mean, std) of 16 finite values each, std above 0"
    pair = read_tensors(Path(path), wanted)
    if not isinstance(pair, tuple | list):
        raise DataError(f"holds a {type(pair).__name__}", file=path, wanted=wanted)
    if len(pair) != 2 or any(not isinstance(t, Tensor) or t.numel() != 16 for t in pair):
        shapes = [tuple(t.shape) if isinstance(t, Tensor) else type(t).__name__ for t in pair]
        raise DataError(f"holds {shapes!r:.200}", file=path, wanted=wanted)
    mean, std = (t.detach().float().reshape(16).clone() for t in pair)
    if not (torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all()):
        raise DataError("values that cannot normalize latents", file=path, wanted=wanted)
    return mean, std


def _read_all(
    source: str | Path | tuple[str | Path, str | Path] | list[str | Path], ema: bool
) -> tuple[State, list[Path]]:
    """Return the tensors of all files of a tokenizer, memory-mapped, and the files."""
    if isinstance(source, str | Path) and class_in(source) == CLASS:
        return read_diffusers(Path(source))[1:]
    files = [Path(part) for part in source] if isinstance(source, tuple | list) else _files(Path(source))
    if not files:
        raise DataError("no files given", wanted=_WANTED)
    state: State = {}
    for file in files:
        _merge(state, _read(file, ema), file)
    return state, files


def _names(files: list[Path]) -> str:
    return " + ".join(str(file) for file in files)


def _merge(state: State, other: State, file: Path) -> None:
    """Merge the tensors of a further file; equal keys must have equal values."""
    for key in state.keys() & other.keys():
        own, new = state[key], other[key]
        if not key.endswith(FIXED_BUFFERS) and not (own.shape == new.shape and torch.equal(own.float(), new.float())):
            wanted = "encoder and decoder of one network, or one file with both"
            raise DataError("an earlier file holds another value for this key", file=file, key=key, wanted=wanted)
    state |= other


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return _files_of_folder(path)
    if is_index(path):
        return files_of_index(path)
    for end, other in (("encoder.jit", "decoder.jit"), ("_enc.jit", "_dec.jit")):
        for own, partner in ((end, other), (other, end)):
            if path.name.endswith(own) and not path.name.endswith("autoencoder.jit"):
                beside = path.with_name(path.name.removesuffix(own) + partner)
                if not beside.is_file():
                    wanted = "both files, or a pair of paths"
                    raise DataError(f"{beside.name} is missing beside it", file=path, wanted=wanted)
                return [path, beside]
    return [path]


def _files_of_folder(folder: Path) -> list[Path]:
    pair = [folder / name for name in _PAIR]
    found = [file.is_file() for file in pair]
    if all(found):
        return pair
    for name in _WHOLE:
        if (folder / name).is_file():
            return [folder / name]
    if (index := index_in(folder)) is not None:
        return files_of_index(index)
    if any(found):
        missing, there = _PAIR if found[1] else _PAIR[::-1]
        raise DataError(f"{missing} is missing beside {there}", file=folder, wanted="both files")
    raise DataError("no tokenizer in this folder", file=folder, wanted=_WANTED)


def _read(path: Path, ema: bool) -> State:
    if not path.is_file():
        raise DataError("no such file", file=path, wanted=_WANTED)
    check_checksums(path, _WANTED)
    if path.suffix == ".jit" or is_torchscript(path):
        return _read_jit(path)
    content = read_weights(path, _WANTED)
    if path.suffix in (".safetensors", ".nemo"):
        return unwrap(content, path)
    content = weights_of(content)
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise DataError("holds no weights", file=path, wanted=_WANTED)
    state = split_ema(_named_tensors(content))[1] if ema else _weights(content)
    if not state:
        kind = "averaged weights" if ema else "weights of a network"
        raise DataError(f"holds no {kind}", file=path, wanted=_WANTED)
    return unwrap(state, path)


def _weights(content: Mapping[Any, Any]) -> State:
    plain, averaged = split_ema(_named_tensors(content))
    plain = {k.removeprefix("network."): v for k, v in plain.items() if not k.startswith("loss.")}
    return plain or averaged


def _named_tensors(content: Mapping[Any, Any]) -> State:
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def is_torchscript(path: Path) -> bool:
    """Return whether a zipped checkpoint is TorchScript: ``autoencoder.pt`` may be either."""
    if not is_zip(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:  # whoever reads it has the message
        return False


def _read_jit(path: Path) -> State:
    try:
        return {_decoder_name(key): value for key, value in mapped_torchscript(path).items()}
    except (ValueError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"not a TorchScript file ({reason:.160})", file=path, wanted=_WANTED) from error


def _decoder_name(key: str) -> str:
    """Map keys of the quantizer in a discrete ``decoder.jit`` to those of the full network."""
    return key.removeprefix("inv_quant.")


def _check(network: Tokenizer, state: State, where: str) -> None:
    """Refuse tensors of other names or shapes than the network's."""
    own = network.state_dict()
    missing = sorted(set(own) - set(state) - {key for key in own if key.endswith(FIXED_BUFFERS)})
    unexpected = sorted(set(state) - set(own))
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    if missing or unexpected or shapes:
        wrong = [f"{k} {tuple(state[k].shape)} for {tuple(own[k].shape)}" for k in shapes]
        parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
        text = "; ".join(f"{len(keys)} {name}: {_some(keys)}" for name, keys in parts if keys)
        raise DataError(f"tensors do not fit a {network.config.family} tokenizer: {text}", file=where, wanted=_WANTED)


def _check_values(own: State, stored: StoredWeights, where: str) -> None:
    """Refuse tensors with invalid values: quantized, not finite, or buffers with unexpected values."""
    for key in (name for name in own if name in stored):
        value = stored.read(key)
        if own[key].is_floating_point() and not value.is_floating_point():
            raise DataError(f"a tensor of {value.dtype}", file=where, key=key, wanted="floating-point weights")
        if not torch.isfinite(value.float()).all():
            raise DataError("weights that are not finite", file=where, key=key, wanted="a file of before it diverged")
        # bfloat16 files hold 0.70703125 for the taps, and are expected to be used with it
        if key.endswith(FIXED_BUFFERS) and not torch.allclose(own[key].float(), value.float(), rtol=1e-3):
            raise DataError(f"unexpected values in buffer '{key.rsplit('.')[-1]}'", file=where, key=key,
                            wanted="Haar patches and scalar quantization")  # fmt: skip
        stored.release(value)


def _some(keys: list[str], most: int = 8) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
