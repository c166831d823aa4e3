"""TorchScript export with the published interfaces, verified against the eager network.

Encoder files return ``(latents, (zero, zero))`` or ``(indices, codes, zero loss)``; decoder files take latents or
indices; full networks return a tuple that begins with the reconstruction.
"""

from __future__ import annotations

import copy
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.files import atomic_write
from cosmos_lidar.models.tokenizer.checkpoint import load_tokenizer
from cosmos_lidar.models.tokenizer.fsq import FSQ
from cosmos_lidar.models.tokenizer.network import DiscreteTokenizer, Tokenizer, coded, has_validity
from cosmos_lidar.models.tokenizer.range_coding import BUFFER, decode_validity

PREFIX = "network."  # of the keys in iter_N.pt
_FOLDER_NAMES = ("encoder.jit", "decoder.jit", "autoencoder.jit")
_TOLERANCE = 1e-4  # largest difference between eager and exported results, relative to their scale


class _Coded(nn.Module):
    """Keeps a network's configuration and the buffer that records its coding of ranges."""

    def __init__(self, network: Tokenizer) -> None:
        super().__init__()
        self.config = network.config
        if has_validity(network.config):
            self.register_buffer(BUFFER, network.range_coding)

    def decoded(self, raw: Tensor) -> Tensor:
        """Return images in the published coding of what the decoder gave."""
        return decode_validity(raw).published() if has_validity(self.config) else raw


class _ContinuousEncoder(_Coded):
    def __init__(self, network: Tokenizer) -> None:
        super().__init__(network)
        self.encoder, self.quant_conv = network.encoder, network.quant_conv

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return (latents, (zero, zero)) of images or clips."""
        return self.quant_conv(self.encoder(coded(x, self.config))), (torch.zeros(1), torch.zeros(1))


class _DiscreteEncoder(_Coded):
    def __init__(self, network: DiscreteTokenizer) -> None:
        super().__init__(network)
        self.encoder, self.quant_conv, self.quantizer = network.encoder, network.quant_conv, network.quantizer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (indices, codes, zero loss) of images or clips."""
        indices, codes = self.quantizer(self.quant_conv(self.encoder(coded(x, self.config))))
        return indices, codes, codes.new_zeros(1)


class _Decoder(_Coded):
    def __init__(self, network: Tokenizer) -> None:
        super().__init__(network)
        self.post_quant_conv, self.decoder = network.post_quant_conv, network.decoder

    def forward(self, z: Tensor) -> Tensor:
        """Return the reconstruction of latents."""
        return self.decoded(self.decoder(self.post_quant_conv(z)))


class _InverseQuantizer(nn.Module):
    def __init__(self, quantizer: FSQ) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, indices: Tensor) -> Tensor:
        """Return the codes of indices."""
        return self.quantizer.indices_to_codes(indices)


class _DiscreteDecoder(_Decoder):
    def __init__(self, network: DiscreteTokenizer) -> None:
        super().__init__(network)
        self.inv_quant = _InverseQuantizer(network.quantizer)  # the published place of the codebook

    def forward(self, indices: Tensor) -> Tensor:
        """Return the reconstruction of indices."""
        return super().forward(self.inv_quant(indices).type_as(next(self.post_quant_conv.parameters())))


class _Whole(_Coded):
    """The full network under its published keys; returns the reconstruction and the encoder's output."""

    def __init__(self, network: Tokenizer) -> None:
        super().__init__(network)
        for name, child in network.named_children():
            self.add_module(name, child)
        self.encoder: nn.Module
        self.decoder: nn.Module
        self.quant_conv: nn.Module
        self.post_quant_conv: nn.Module
        self.quantizer: FSQ
        self.discrete = isinstance(network, DiscreteTokenizer)

    def forward(self, x: Tensor) -> tuple:
        """Return (reconstruction, (zero, zero), latents) or (reconstruction, zero loss, indices)."""
        z = self.quant_conv(self.encoder(coded(x, self.config)))
        if self.discrete:
            indices, codes = self.quantizer(z)
            return self.decoded(self.decoder(self.post_quant_conv(codes))), codes.new_zeros(1), indices
        return self.decoded(self.decoder(self.post_quant_conv(z))), (torch.zeros(1), torch.zeros(1)), z


@torch.no_grad()
def export_jit(
    network: Tokenizer, folder: str | Path, stem: str | None = None, averaged: Tokenizer | None = None
) -> list[Path]:
    """Export encoder, decoder and full network as TorchScript.

    Each is traced in float32 on the CPU, compared with the network at another image size than it was traced at, and
    written atomically.

    Args:
        network: tokenizer of :func:`build_tokenizer` or :func:`load_tokenizer`.
        folder: made when absent.
        stem: such as ``"iter_000002000"``, for ``STEM_enc.jit``, ``STEM_dec.jit`` and ``STEM_ema.jit``; without it the
            files are named ``encoder.jit``, ``decoder.jit`` and ``autoencoder.jit``. Both sets of names are published.
        averaged: the same network with EMA weights, for all three files when given.

    Returns:
        The three files.

    Raises:
        UserError: the output of an exported file differs from the network's.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    source = copy.deepcopy(averaged if averaged is not None else network).cpu().float().eval()
    traced_at, checked_at = (_example(source, size) for size in ((2, 8, 8), (3, 6, 10)))
    encoder, decoder = _halves(source)
    names = [f"{stem}_{end}.jit" for end in ("enc", "dec", "ema")] if stem else _FOLDER_NAMES
    jobs = [(encoder, traced_at, checked_at),
            (decoder, encoder(traced_at)[0], encoder(checked_at)[0]),
            (_Whole(source), traced_at, checked_at)]  # fmt: skip
    return [
        _write(module, example, check, folder / name)
        for (module, example, check), name in zip(jobs, names, strict=True)
    ]


def export_safetensors(network: nn.Module, path: str | Path) -> Path:
    """Write the weights under their published keys; :func:`load_tokenizer` reads them back."""
    from safetensors.torch import save_file

    path = Path(path)
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with atomic_write(path) as partial:
        save_file(state, partial)
    return path


def export_tokenizer(network: Tokenizer, averaged: Tokenizer | None, folder: Path, step: int) -> list[Path]:
    """Write ``iter_N.pt``, ``iter_N.safetensors``, ``iter_N_enc.jit``, ``iter_N_dec.jit`` and ``iter_N_ema.jit``.

    Args:
        network: the trained network, on any device.
        averaged: the same with EMA weights: all three TorchScript files then hold these, as the published trainer
            does; None without EMA.
        folder: the ``checkpoints`` folder.
        step: N, nine digits.

    Returns:
        The files, each written atomically.
    """
    from safetensors.torch import save

    stem = f"iter_{step:09d}"
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    plain, safe = folder / f"{stem}.pt", folder / f"{stem}.safetensors"
    with atomic_write(plain, sync=True) as partial:
        torch.save(_published(state, step), partial)
    with atomic_write(safe, sync=True) as partial:
        partial.write_bytes(save(state, {"iteration": str(step)}))
    return [plain, safe, *export_jit(network, folder, stem, averaged)]


def export_weights(weights: dict[str, Tensor], average: dict[str, Tensor], folder: Path, step: int) -> list[Path]:
    """Write the exports of :func:`export_tokenizer` for weights by name; the network is built from them.

    Args:
        weights: all of them, on the CPU.
        average: the EMA of the trained ones; empty without one.
        folder: for the files.
        step: N, nine digits.

    Returns:
        The files, each written atomically.
    """
    averaged = network_of(weights | average, step) if average else None
    return export_tokenizer(network_of(weights, step), averaged, folder, step)


def network_of(state: dict[str, Tensor], step: int) -> Tokenizer:
    """Return the tokenizer that has these weights, built from their names and shapes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"iter_{step:09d}.pt"
        torch.save(_published(state, step), path)
        return load_tokenizer(path)


def _halves(network: Tokenizer) -> tuple[nn.Module, nn.Module]:
    """Return encoder and decoder with the published interfaces."""
    if isinstance(network, DiscreteTokenizer):
        return _DiscreteEncoder(network), _DiscreteDecoder(network)
    return _ContinuousEncoder(network), _Decoder(network)


def _example(network: Tokenizer, latent_size: tuple[int, int, int]) -> Tensor:
    """Return noise that makes latents of (t, h, w); images have no t."""
    step, frames = network.config.spatial_compression, getattr(network.config, "temporal_compression", None)
    time = [] if frames is None else [1 + (latent_size[0] - 1) * frames]
    shape = (1, network.config.in_channels, *time, latent_size[1] * step, latent_size[2] * step)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _write(module: nn.Module, example: Tensor, check: Tensor, path: Path) -> Path:
    with atomic_write(path, sync=True) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, but it is what the published code loads
        content = io.BytesIO()  # given a path, TorchScript ends the whole process when the disk is full
        torch.jit.save(torch.jit.trace(module.eval(), example, strict=False, check_trace=False), content)
        partial.write_bytes(content.getbuffer())
        _compare(module, torch.jit.load(str(partial), map_location="cpu"), check, path)
    return path


def _compare(module: nn.Module, exported: nn.Module, check: Tensor, path: Path) -> None:
    wanted, got = _first(module(check)).float(), _first(exported(check)).float()
    error, scale = (wanted - got).abs().max().item(), max(wanted.abs().max().item(), 1.0)
    if not error <= _TOLERANCE * scale:  # written so that NaN fails
        raise UserError(f"{path}: the exported network differs by {error:.3g} from the given one; nothing was written")


def _first(result: Tensor | tuple) -> Tensor:
    return result[0] if isinstance(result, tuple) else result


def _published(state: dict[str, Tensor], step: int) -> dict[str, Any]:
    return {"model": {PREFIX + name: value for name, value in state.items()}, "iteration": step}
