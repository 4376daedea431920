"""Messages between server and worker (and browser), as strict models: one place, both ends."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from objectives.acceleratorspec import ChosenAccelerator, Report
from objectives.space import Scalar
from objectives.spec import OBJECTIVES, Study

MAX_BLOB_BYTES = 256 * 1024 * 1024
"""Largest checkpoint or set of weights that the server takes."""

MAX_DEPTH = 32
MAX_ENTRIES = 64
MAX_HAZARDS = 10**15

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


def _possible(values: dict[str, float]) -> dict[str, float]:
    """Values of objectives as a network can have them: fronts and pages divide by them and multiply them."""
    for name in OBJECTIVES.keys() & values.keys():
        low, high = (0.0, 1.0) if name == "accuracy" else (1e-30, 1e30)
        if not low <= values[name] <= high:
            raise ValueError(f"{name}: expected {low:g} to {high:g}, got {values[name]:g}")
    return values


def _few(value: Any) -> Any:
    """An object of few keys: each wrong one is a problem of its own, and a million of them would hold the server up."""
    if isinstance(value, dict) and len(value) > MAX_ENTRIES:
        raise ValueError(f"expected at most {MAX_ENTRIES} keys, got {len(value)}")
    return value


Text = Annotated[str, BeforeValidator(_storable), Field(max_length=20_000)]
STUDY_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
StudyName = Annotated[str, Field(pattern=STUDY_NAME)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Values = Annotated[
    dict[Annotated[str, Field(max_length=64)], float],
    BeforeValidator(_few),
    AfterValidator(_possible),
    Field(max_length=MAX_ENTRIES),
]


class Message(BaseModel):
    """Base of every message: unknown keys, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Request(Message):
    """Base of what the server is sent."""

    @model_validator(mode="before")
    @classmethod
    def _few_keys(cls, value: Any) -> Any:
        return _few(value)


class LeaseRequest(Request):
    """A worker asks for something to do."""

    worker: Name
    versions: Annotated[
        dict[Annotated[str, Field(max_length=32)], Annotated[str, Field(max_length=64)]],
        BeforeValidator(_few),
        Field(max_length=MAX_ENTRIES),
    ]
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


class EpochPoint(Request):
    """One point of a learning curve."""

    epoch: int = Field(ge=1, le=10_000)
    loss: float
    accuracy: float = Field(ge=0, le=1)
    seconds: float = Field(ge=0)


class Renewal(Request):
    """Still at work; brings the epochs finished since the last renewal."""

    fence: int = Field(ge=1)
    epochs: tuple[EpochPoint, ...] = Field(default=(), max_length=10_000, fail_fast=True)


class Renewed(Message):
    """The lease goes on; `stop` asks the worker to save and hand the trial back."""

    stop: bool


class Rung(Request):
    """The full objective vector at a rung."""

    fence: int = Field(ge=1)
    rung: int = Field(ge=0, le=64)
    epoch: int = Field(ge=1, le=10_000)
    values: Values


class Bound(Request):
    """The best that a trial can come to: accuracy 1, with a network that is silent behind its first layer."""

    fence: int = Field(ge=1)
    values: Values
    fits_device: bool


class Decision(Message):
    """What becomes of a trial after a rung."""

    decision: Literal["continue", "stop"]
    reason: str = ""


class Complete(Request):
    """The scores of a finished trial."""

    fence: int = Field(ge=1)
    values: Values
    fits_device: bool
    fits_budget: bool = Field(default=True, description="Whether a searched accelerator keeps the resource budget.")
    hazards: int = Field(ge=0, le=MAX_HAZARDS)
    on_baseline_accelerator: Values | None
    weights: Digest
    hardware_front: Digest | None = Field(
        default=None, description="All accelerators that the trial had to choose from."
    )
    details: Annotated[dict[str, Any], BeforeValidator(_storable_tree)]
    epochs: tuple[EpochPoint, ...] = Field(
        default=(), max_length=10_000, fail_fast=True, description="Those finished since the last renewal."
    )
    rungs: tuple[Rung, ...] = Field(
        default=(), max_length=64, fail_fast=True, description="Those that the server has not taken yet."
    )

    @model_validator(mode="after")
    def _of_one_attempt(self) -> Complete:
        for rung in self.rungs:
            if rung.fence != self.fence:
                raise ValueError(
                    f"rungs: fence {rung.fence} in a report of fence {self.fence}; send the rungs of this attempt only"
                )
        return self


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


class Tested(Request):
    """The scores of a trained network on the test set, or why there are none."""

    fence: int = Field(ge=1)
    values: Values | None
    on_baseline_accelerator: Values | None = None
    error: Text | None = None


class Failed(Request):
    """An objective's own exception."""

    fence: int = Field(ge=1)
    error: Annotated[Text, Field(max_length=200)]
    message: Text
    traceback: Text


class Fence(Request):
    """The fence alone, to hand a trial back."""

    fence: int = Field(ge=1)


class NewStudy(Request):
    """A study file to start (or to go on with, when it is the same)."""

    yaml: str = Field(max_length=262_144)
    source: str = Field(default="study.yaml", max_length=500)


class Change(Request):
    """Changes of the fields that do not decide results, by dotted path."""

    set: Annotated[
        dict[Annotated[str, Field(max_length=64)], Annotated[Scalar, BeforeValidator(_storable)]],
        BeforeValidator(_few),
        Field(max_length=32),
    ] = {}
