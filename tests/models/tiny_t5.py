"""A T5 encoder with random weights and a tokenizer of a few words, as files."""

from __future__ import annotations

from pathlib import Path

import torch

WORDS = ("a", "street", "in", "the", "rain", "car", "fence")
WIDTH = 16


def write_tiny_t5(folder: Path, seed: int = 0, width: int = WIDTH) -> Path:
    """Write config, weights and tokenizer, as ``save_pretrained`` does."""
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -2.0) for word in WORDS)]
    vocabulary += [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz.▁"]
    torch.manual_seed(seed)
    config = T5Config(vocab_size=len(vocabulary), d_model=width, d_kv=4, d_ff=32, num_layers=2, num_heads=4)
    network = T5EncoderModel(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    T5TokenizerFast(vocab=vocabulary, extra_ids=0).save_pretrained(folder)
    return folder
