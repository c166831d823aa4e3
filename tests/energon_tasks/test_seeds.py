"""Seeds of samples: of the name, and in training of the place in the stream; their values are those of earlier runs."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import pytest

pytest.importorskip("megatron.energon")

from energon_tasks.seeds import noise_seed, sample_seed


def sample(key: str = "a_000000", place: int = 3) -> SimpleNamespace:
    return SimpleNamespace(__key__=key, __restore_key__=("Webdataset", place))


def test_training_has_a_seed_for_each_place_in_the_stream():
    assert sample_seed(sample(place=3), 0, True) != sample_seed(sample(place=4), 0, True)
    assert sample_seed(sample(place=3), 0, True) == sample_seed(sample(place=3), 0, True)
    assert sample_seed(sample(place=3), 0, False) == sample_seed(sample(place=4), 0, False)
    several = {sample_seed(sample(key), seed, False) for key in "ab" for seed in (0, 1)}
    assert len(several) == 4


def test_the_values_are_those_of_the_hash_by_key_and_place():
    digest = hashlib.sha256(b"7:a_000000:('Webdataset', 3)").digest()
    assert sample_seed(sample(), 7, True) == int.from_bytes(digest[:16], "little")
    assert noise_seed(sample(), 7, True) == int.from_bytes(digest[:6], "little") < 1 << 48
