"""A made-up training whose result nobody can guess: each step hashes what the one before it left.

A trial that lost a step, did one twice or went on from another trial's checkpoint ends with other values, and an audit
knows the right ones from the trial's seed and parameters alone.
"""

from __future__ import annotations

import hashlib
import struct

STEPS = 4
_LARGEST = float(2**64)


def begin(seed: int, beta: float, threshold: float) -> str:
    """Before the first step."""
    return _hash(f"{seed} {beta!r} {threshold!r}")


def step(chain: str, number: int) -> str:
    """After step `number`, which counts from 1."""
    return _hash(f"{chain} {number}")


def after(steps: int, seed: int, beta: float, threshold: float) -> str:
    """After `steps` steps, all of them."""
    chain = begin(seed, beta, threshold)
    for number in range(1, steps + 1):
        chain = step(chain, number)
    return chain


def share(chain: str, salt: str) -> float:
    """A number from 0 to 1 with all its bits in use."""
    return float(struct.unpack("<Q", hashlib.sha256(f"{chain} {salt}".encode()).digest()[:8])[0]) / _LARGEST


def values(chain: str) -> dict[str, float]:
    """Scores after a step; every trial is above the floor, and few stand on the front."""
    accuracy = 0.5 + share(chain, "accuracy") / 2
    return {
        "accuracy": accuracy,
        "latency_ms": 1.0 - accuracy + share(chain, "latency") / 100,
        "fps_per_watt": 1000 * accuracy + share(chain, "energy"),
    }


def weights(chain: str) -> bytes:
    """What a trained network would be, and a checkpoint's ballast."""
    return hashlib.shake_256(chain.encode()).digest(32_768)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
