"""Messages of the protocol for the tests of the service."""

from __future__ import annotations

from typing import Any

from service import wire
from tests.support.studies import make_study

DIGEST = "0123456789abcdef" * 4


def make_lease(**fields: Any) -> wire.Lease:
    """A lease on trial 3 of the tiny study."""
    study = make_study()
    params = {"beta": 0.5, "threshold": 1.0, "accelerator.neural_cores.0": 2}
    known: dict[str, Any] = {
        "task": "train", "study": "tiny", "trial_id": 17, "number": 3, "fence": 2, "seed": 5, "ttl_s": 30.0,
        "checkpoint_s": 10.0, "spec": study, "params": params, "baseline_params": study.baseline_params(),
    }  # fmt: skip
    return wire.Lease(**{**known, **fields})


def make_complete(**fields: Any) -> wire.Complete:
    """The result of that trial."""
    known: dict[str, Any] = {
        "fence": 2, "values": {"accuracy": 0.9, "latency_ms": 0.5, "fps_per_watt": 100.0}, "fits_device": True,
        "hazards": 0, "on_baseline_accelerator": None, "weights": DIGEST, "details": {"images": 10},
    }  # fmt: skip
    return wire.Complete(**{**known, **fields})


def make_point(epoch: int = 1) -> wire.EpochPoint:
    """A finished epoch."""
    return wire.EpochPoint(epoch=epoch, loss=0.5, accuracy=0.8, seconds=1.5)
