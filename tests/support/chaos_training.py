"""What `objectives` gives a worker, made up: a training of four steps of 0.1 s with checkpoints, and its scores.

`install` puts it in the place of the modules that train, score and load data, before `service.worker` is imported; so
a worker starts in half a second, and everything else in it is the product's own.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

from objectives.errors import CheckpointError
from objectives.spec import Study
from tests.support import chain
from tests.support.sidelog import SideLog

STEP_S = 0.1
SLICES = 5


@dataclass(frozen=True)
class Epoch:
    """As `objectives.train.Epoch`."""

    epoch: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Score:
    """As `objectives.score.Score`."""

    values: dict[str, float]
    details: dict[str, Any]
    on_baseline_accelerator: dict[str, float] | None = None
    hardware_front: bytes | None = None


@dataclass(frozen=True)
class Bound:
    """As `objectives.score.Bound`."""

    values: dict[str, float]
    fits_device: bool = True


@dataclass
class Network:
    """What has been learned."""

    chain: str


@dataclass
class Training:
    """As `objectives.train.Training`; writes down each step that it begins."""

    study: Study
    seed: int
    data: object
    log: SideLog
    epoch: int = 0
    epochs: int = chain.STEPS
    network: Network = field(init=False)

    def __post_init__(self) -> None:
        self.network = Network(chain.begin(self.seed, self.study.beta, self.study.threshold))
        self._trial = self.network.chain

    @property
    def finished(self) -> bool:
        return self.epoch >= self.epochs

    def run_epoch(self, stop: Callable[[], bool]) -> Epoch | None:
        self.log.write("step", epoch=self.epoch + 1)
        for _ in range(SLICES):
            time.sleep(STEP_S / SLICES)
            if stop():
                return None
        self.epoch += 1
        self.network.chain = chain.step(self.network.chain, self.epoch)
        return Epoch(self.epoch, *curve_point(self.network.chain), STEP_S)

    def state(self) -> bytes:
        ballast = hashlib.sha256(chain.weights(self.network.chain)).hexdigest() * 512  # 32 kB
        state = {"trial": self._trial, "epoch": self.epoch, "chain": self.network.chain, "ballast": ballast}
        content = json.dumps(state)
        return json.dumps({"sha256": hashlib.sha256(content.encode()).hexdigest(), "content": content}).encode()

    def restore(self, data: bytes) -> None:
        try:
            document = json.loads(data)
            is_whole = hashlib.sha256(document["content"].encode()).hexdigest() == document["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError("torn") from error
        state = json.loads(document["content"])
        if not is_whole or state["trial"] != self._trial:
            raise CheckpointError("altered, or of another trial")
        self.epoch, self.network.chain = state["epoch"], state["chain"]

    def weights(self) -> bytes:
        return chain.weights(self.network.chain)


def curve_point(link: str) -> tuple[float, float]:
    """Loss and accuracy after a step."""
    return chain.share(link, "loss"), chain.values(link)["accuracy"]


def score(
    study: Study, network: Network, images: object, labels: object, *, seed: int, baseline: Study | None
) -> Score:
    details = {"hazards": {}, "fits_device": True, "chain": network.chain}
    return Score(chain.values(network.chain), details)


def bound(study: Study, network: Network, images: object, labels: object, *, seed: int) -> Bound:
    """What no trial reaches: the gate is asked, and lets all pass."""
    return Bound({"accuracy": 1.0, "latency_ms": 1e-3, "fps_per_watt": 1e6})


def score_test(study: Study, weights: bytes, data: object, seed: int, baseline: Study | None = None) -> Score:
    link = chain.after(chain.STEPS, seed, study.beta, study.threshold)
    assert weights == chain.weights(link), "the weights are not those of this trial"
    return Score(chain.values(link), {})


def install(log: SideLog) -> None:
    """Take the place of what trains; to be called before `service.worker` is imported."""
    assert "objectives.train" not in sys.modules
    split = SimpleNamespace(images=None, labels=None)
    offered: dict[str, dict[str, object]] = {
        "objectives.train": {"Training": lambda study, seed, data: Training(study, seed, data, log), "Epoch": Epoch},
        "objectives.score": {"score": score, "score_test": score_test, "Score": Score, "bound": bound},
        "objectives.data": {"load_dataset": lambda spec, folder: SimpleNamespace(validation=split), "Dataset": object},
        "objectives.process": {"settle": lambda: None},
    }
    for name, content in offered.items():
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
