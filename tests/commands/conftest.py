"""Recordings and tokenizers that the tests of commands share with those of the families."""

from tests.families.conftest import make_clip, small_sensor, tokenizer_folder

__all__ = ["make_clip", "small_sensor", "tokenizer_folder"]
