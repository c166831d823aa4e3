"""Networks that Hugging Face Diffusers has, too: export to its folders and import from them.

``AutoencoderKLCosmos`` (continuous video tokenizers), ``AutoencoderKLWan`` (the Wan2.1 VAE) and
``CosmosTransformer3DModel`` (single-view Predict2). Diffusers itself is not needed.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.diffusers_folder import CONFIG, class_in
from cosmos_lidar.models.dit import GeneralDiT
from cosmos_lidar.models.dit.lora import has_lora
from cosmos_lidar.models.dit.predict2 import Predict2DiT
from cosmos_lidar.models.dit.predict2 import diffusers as transformer
from cosmos_lidar.models.dit.weights import load_dit_weights
from cosmos_lidar.models.tokenizer import Tokenizer, load_tokenizer
from cosmos_lidar.models.tokenizer import diffusers as tokenizer
from cosmos_lidar.models.wan_vae import WanVAE, load_vae
from cosmos_lidar.models.wan_vae import diffusers as vae

CLASSES = (tokenizer.CLASS, vae.CLASS, transformer.CLASS)


def to_diffusers(network: nn.Module, folder: str | Path) -> list[Path]:
    """Write a network as ``config.json`` and safetensors that ``from_pretrained`` of Diffusers reads.

    Args:
        network: a :class:`Tokenizer`, :class:`WanVAE` or :class:`Predict2DiT`, of any dtype, which the file keeps.
        folder: made when absent.

    Returns:
        The files.

    Raises:
        UserError: Diffusers cannot hold the network; the message names the reason.
    """
    path = Path(folder)
    if isinstance(network, Tokenizer):
        return tokenizer.export_diffusers(network, path)
    if isinstance(network, WanVAE):
        return vae.export_diffusers(network, path)
    if isinstance(network, Predict2DiT):
        if has_lora(network):
            raise UserError("low-rank updates beside the weights: merge them first (cosmos-lidar merge-lora)")
        return transformer.export_diffusers(network, path)
    if isinstance(network, GeneralDiT):
        raise UserError(
            f"Diffusers' {transformer.CLASS} cannot hold this network of Predict1: its cameras have embeddings, and "
            "fixed sine-cosine positions are added before every block, where Diffusers has learned ones or none"
        )
    raise UserError(f"Diffusers has no class for a {type(network).__name__}; it has {', '.join(CLASSES)}")


def from_diffusers(folder: str | Path) -> Tokenizer | WanVAE | Predict2DiT:
    """Return the network of a folder that Diffusers' ``save_pretrained`` wrote, in float32 on the CPU, in eval mode.

    Raises:
        DataError: no such folder, a class without a network here, or weights that do not fit.
    """
    path, found = Path(folder), class_in(folder)
    if found == tokenizer.CLASS:
        return load_tokenizer(path)
    if found == vae.CLASS:
        return load_vae(path)
    if found == transformer.CLASS:
        network = Predict2DiT(transformer.read_diffusers(path)[0])
        load_dit_weights(network, path)
        return network.float().eval()
    if (path / "model_index.json").is_file():
        problem, wanted = "a pipeline of several models", f"one of its folders, such as {path / 'transformer'}"
        raise DataError(problem, file=path, wanted=wanted)
    raise DataError(f"a {found}" if found else "no Diffusers model", file=path / CONFIG, key="_class_name",
                    wanted=", ".join(CLASSES))  # fmt: skip
