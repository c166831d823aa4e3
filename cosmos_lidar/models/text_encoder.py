"""T5 text encoder: captions to the embeddings (tokens, width) that cross-attention reads; T5-11B as published.

As published, texts are used raw: tokens are cut at ``max_length``, the encoder's last hidden state is taken with its
attention mask, and rows behind the last token are left out (the networks fill them with zeros). Texts of a batch are
padded to the longest of them: the mask makes the result that of padding to ``max_length``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.extras import require

T5_11B = "google-t5/t5-11b"
MAX_LENGTH = 512


class TextEncoder:
    """A T5 encoder with its tokenizer.

    Args:
        network: ``transformers.T5EncoderModel``, or any encoder that is called with ids and mask alike.
        tokenizer: of transformers.
        max_length: tokens that are kept of a text, its end mark included.

    Attributes:
        width: of the embeddings.
    """

    def __init__(self, network: Any, tokenizer: Any, max_length: int = MAX_LENGTH) -> None:
        if max_length < 1:
            raise UserError(f"max_length {max_length}: must be at least 1")
        self.network, self.tokenizer, self.max_length = network.eval(), tokenizer, max_length
        self.width: int = network.config.d_model

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Return an embedding (tokens, width) float32, on the CPU, for each text.

        Raises:
            UserError: no texts.
        """
        if not texts:
            raise UserError("no texts to embed: expected at least one")
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        device = next(self.network.parameters()).device
        ids, mask = tokens.input_ids.to(device), tokens.attention_mask.to(device)
        states = self.network(input_ids=ids, attention_mask=mask).last_hidden_state.float().cpu()
        return [rows[:length].clone() for rows, length in zip(states, mask.sum(1).tolist(), strict=True)]


def load_text_encoder(
    name: str | Path = T5_11B,
    *,
    max_length: int = MAX_LENGTH,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TextEncoder:
    """Return a T5 encoder of a folder, or of a repository of the Hugging Face Hub (from its local cache where there).

    Args:
        name: folder with ``config.json``, weights and tokenizer, or name of a repository.
        max_length: tokens that are kept of a text.
        device: where it computes.
        dtype: of the weights; published: float32. T5 overflows in float16.

    Raises:
        UserError: transformers is not installed, it cannot be loaded, or float16 is asked for.
    """
    if dtype == torch.float16:
        raise UserError("T5 overflows in float16: valid: float32, bfloat16")
    transformers = require("transformers")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(name), trust_remote_code=False)
        network = transformers.T5EncoderModel.from_pretrained(str(name), dtype=dtype, weights_only=True)
    except Exception as error:  # transformers raises errors of many kinds for what is not there or damaged
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        wanted = f"expected a folder with config.json, weights and tokenizer of T5, or a name such as {T5_11B}"
        raise UserError(f"text encoder {name}: {reason:.200}: {wanted}") from error
    return TextEncoder(network.to(device), tokenizer, max_length)
