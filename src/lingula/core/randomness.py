"""Random draws keyed by what they are for, so that no draw depends on what was drawn before it."""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Float


def random_key(*parts: int | str) -> int:
    """Return a 63-bit number that depends on every part, e.g. (seed, epoch, sample id, purpose)."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def random_generator(*parts: int | str) -> np.random.Generator:
    """Return a numpy generator keyed by the parts (counter-based, cheap to make)."""
    return np.random.Generator(np.random.Philox(key=random_key(*parts)))


def keyed_uniforms(count: int, *parts: int | str) -> Float[np.ndarray, " numbers"]:
    """Return up to 16 numbers from [0, 1) that depend on the parts alone; far cheaper than a generator per sample.

    Raises:
        ValueError: More than 16 are asked for.
    """
    if count > 16:
        raise ValueError("one digest holds 16 numbers")
    text = "\x1f".join(map(str, parts))
    digest = hashlib.blake2b(text.encode(), digest_size=64).digest()
    return np.frombuffer(digest, dtype="<u4")[:count] * 2.0**-32
