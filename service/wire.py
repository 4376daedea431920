"""Messages between server and worker (and browser), as strict models: one place, both ends."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from objectives.acceleratorspec import ChosenAccelerator, Report
from objectives.space import Scalar
from objectives.spec import Study

MAX_BLOB_BYTES = 256 * 1024 * 1024
"""Largest checkpoint or set of weights that the server takes."""

MAX_DEPTH = 32

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]


def _storable(text: object) -> object:
    """Free text without what a database cannot store: NUL and lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if isinstance(text, str) else text


def _storable_tree(value: Any, depth: int = 0) -> Any:
    """Free JSON as a database can store it: finite numbers, storable text, no deeper than `MAX_DEPTH`."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number must be finite")
    if isinstance(value, dict):
        return {_storable(key): _storable_tree(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable_tree(item, depth + 1) for item in value]
    return _storable(value)


Text = Annotated[str, BeforeValidator(_storable), Field(max_length=20_000)]
STUDY_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
StudyName = Annotated[str, Field(pattern=STUDY_NAME)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Values = dict[Annotated[str, Field(max_length=64)], float]


class Message(BaseModel):
    """Base of every message: unknown keys, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LeaseRequest(Message):
    """A worker asks for something to do."""

    worker: Name
    versions: dict[Annotated[str, Field(max_length=32)], Annotated[str, Field(max_length=64)]]
    study: StudyName | None = Field(default=None, description="Work for this study only.")


class Blob(Message):
    """Stored bytes: by which attempt, and what they hash to."""

    fence: int
    sha256: Digest


class Lease(Message):
    """Something to do: train a trial, or score a trained network on the held-back test set."""

    task: Literal["train", "test"]
    study: str
    trial_id: int
    number: int
    fence: int
    seed: int
    ttl_s: float
    checkpoint_s: float
    spec: Study
    params: dict[str, Scalar]
    baseline_params: dict[str, Scalar]
    checkpoints: tuple[Blob, ...] = ()
    weights: Blob | None = None
    accelerator: ChosenAccelerator | None = Field(
        default=None, description="For a test: what the trial chose on the validation images, where it had a choice."
    )


class Idle(Message):
    """Nothing to do now; `finished` when nothing will come."""

    task: Literal["none"] = "none"
    retry_s: float
    finished: bool
    reason: str = ""


class Offer(Message):
    """The answer to a `LeaseRequest`."""

    work: Annotated[Lease | Idle, Field(discriminator="task")]


class EpochPoint(Message):
    """One point of a learning curve."""

    epoch: int = Field(ge=1, le=10_000)
    loss: float
    accuracy: float = Field(ge=0, le=1)
    seconds: float = Field(ge=0)


class Renewal(Message):
    """Still at work; brings the epochs finished since the last renewal."""

    fence: int = Field(ge=1)
    epochs: tuple[EpochPoint, ...] = Field(default=(), max_length=10_000)


class Renewed(Message):
    """The lease goes on; `stop` asks the worker to save and hand the trial back."""

    stop: bool


class Rung(Message):
    """The full objective vector at a rung."""

    fence: int = Field(ge=1)
    rung: int = Field(ge=0, le=64)
    epoch: int = Field(ge=1, le=10_000)
    values: Values


class Decision(Message):
    """What becomes of a trial after a rung."""

    decision: Literal["continue", "stop"]
    reason: str = ""


class Complete(Message):
    """The scores of a finished trial."""

    fence: int = Field(ge=1)
    values: Values
    fits_device: bool
    fits_budget: bool = Field(default=True, description="Whether a searched accelerator keeps the resource budget.")
    hazards: int = Field(ge=0)
    on_baseline_accelerator: Values | None
    weights: Digest
    hardware_front: Digest | None = Field(
        default=None, description="All accelerators that the trial had to choose from."
    )
    details: Annotated[dict[str, Any], BeforeValidator(_storable_tree)]
    epochs: tuple[EpochPoint, ...] = Field(
        default=(), max_length=10_000, description="Those finished since the last renewal."
    )
    rungs: tuple[Rung, ...] = Field(default=(), max_length=64, description="Those that the server has not taken yet.")


class HardwarePoint(Message):
    """One accelerator on which a trial's network could run."""

    neural_cores: tuple[int, ...]
    encoder_widths: tuple[int | None, ...]
    latency_ms: float
    fps_per_watt: float | None = None
    energy_uj: float | None = None
    luts: int
    flip_flops: int
    bram36: float
    uram: int
    dsp: int


class HardwareSearch(Message):
    """How a trial searched its accelerators."""

    report: Report
    accelerators: int
    front: int
    limits: Values
    shortage: str | None


class FoundHardware(BaseModel):
    """The part of a trial's details that a search of accelerators brings; the rest is left alone."""

    accelerator_chosen: ChosenAccelerator
    hardware_front: Annotated[tuple[HardwarePoint, ...], Field(max_length=100_000)]
    hardware_search: HardwareSearch


class Tested(Message):
    """The scores of a trained network on the test set, or why there are none."""

    fence: int = Field(ge=1)
    values: Values | None
    on_baseline_accelerator: Values | None = None
    error: Text | None = None


class Failed(Message):
    """An objective's own exception."""

    fence: int = Field(ge=1)
    error: Annotated[Text, Field(max_length=200)]
    message: Text
    traceback: Text


class Fence(Message):
    """The fence alone, to hand a trial back."""

    fence: int = Field(ge=1)


class NewStudy(Message):
    """A study file to start (or to go on with, when it is the same)."""

    yaml: str = Field(max_length=262_144)
    source: str = Field(default="study.yaml", max_length=500)


class Change(Message):
    """Changes of the fields that do not decide results, by dotted path."""

    set: dict[Annotated[str, Field(max_length=64)], Annotated[Scalar, BeforeValidator(_storable)]] = Field(
        default_factory=dict, max_length=32
    )
