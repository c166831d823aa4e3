"""Seeds of a sample's random choices: window, crop, noise; the same after a resumed run, and in any worker."""

from __future__ import annotations

import hashlib

from megatron.energon import Sample


def sample_seed(sample: Sample, seed: int, fresh: bool, size: int = 16) -> int:
    """Return a seed for the choices of a sample: of its name, and if fresh of its place in the stream of samples.

    The place is part of the restore key. Energon's sample index is off by one after a restart in the middle of a
    sample, and ``stateless(restore_seeds=True)`` keeps the seed of the first worker that called it.

    Args:
        sample: with its keys, as Energon gives them.
        seed: of the run.
        fresh: another seed each time that the sample is read (training).
        size: bytes of the seed.
    """
    place = repr(sample.__restore_key__) if fresh else ""
    digest = hashlib.sha256(f"{seed}:{sample.__key__}:{place}".encode()).digest()
    return int.from_bytes(digest[:size], "little")


def noise_seed(sample: Sample, seed: int, fresh: bool) -> int:
    """Return a seed of 48 bits for the noise of a sample, see :func:`sample_seed`."""
    return sample_seed(sample, seed, fresh, 6)
