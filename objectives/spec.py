"""The study: strict, frozen models of what a study file says."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from objectives.acceleratorspec import YOUNGER, ChosenAccelerator, SpecModel
from objectives.acceleratorspec import AcceleratorSpec as AcceleratorSpec
from objectives.errors import SpecError
from objectives.searchspec import BudgetSpec, SamplerSpec, StoppingSpec
from objectives.space import Choice, Domain, Params, Scalar, corners_beside, walk
from objectives.validation import problem

OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "latency_ms": "minimize",
    "fps_per_watt": "maximize",
    "energy_uj": "minimize",
}
"""Every objective a study may ask for, with its direction."""

FROZEN = (
    "dataset", "network", "pool", "encoding", "time_steps", "neuron", "surrogate", "slope", "alpha", "beta",
    "threshold", "loss", "weight_bits", "train", "accelerator", "search", "objectives", "constraints", "baseline",
    "reset", "learn", "escape",
)  # fmt: skip
"""The fields that decide a trial's result; the others may change while a study lives."""

SEARCHABLE = (
    "network", "pool", "encoding", "time_steps", "surrogate", "slope", "alpha", "beta", "threshold", "loss",
    "weight_bits", "train", "accelerator", "neuron", "reset", "escape",
)  # fmt: skip
"""The fields (or sections) whose scalars may become dimensions of the search."""

YOUNGER_FIELDS = (
    *(f"accelerator.{name}" for name in YOUNGER),
    "weight_bits",
    "dataset.root", "dataset.verify", "dataset.normalise", "dataset.augment", "dataset.frames",
    "train.momentum", "train.weight_decay", "train.warmup_epochs", "train.step_epochs", "train.gamma",
    "train.rate_penalty", "train.target_rate", "train.micro_batch", "reset", "learn", "escape",
    "train.dropout", "constraints.at_most",
)  # fmt: skip
"""Fields younger than stored studies, by dotted name: at their default they are not in the frozen part, whose hash must
stay what it was."""

Ceiling = Literal["latency_ms", "energy_uj", "power_w"]

LARGEST = 1e6
"""Largest threshold, slope, alpha and escape: far beyond use, and exact enough in float32."""

_CIRCUITS = "a lapicque neuron's beta lies above 0 and below 1 (as float32)"

LossName = Literal["mse_count", "ce_rate", "ce_count", "mse_temporal", "ce_temporal", "mse_membrane", "ce_max_membrane"]
OptimizerName = Literal["adam", "adamw", "nadam", "radam", "adamax", "rmsprop", "adagrad", "sgd"]
ScheduleName = Literal["constant", "cosine", "linear", "step", "exponential", "one_cycle"]
WeightBits = Literal[32, 8, 4]
SurrogateName = Literal["fast_sigmoid", "atan", "triangular", "straight_through", "sigmoid", "spike_rate_escape"]


DatasetName = Literal["digits", "mnist", "fashion-mnist", "svhn", "cifar10", "nmnist", "dvs-gesture", "shd"]

_FOLDER = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*", re.ASCII)
"""A folder below another, never above: a study comes from others, and a worker reads what it names."""


class AugmentSpec(SpecModel):
    """How training images are altered at random."""

    crop: int = Field(
        default=0, ge=0, le=64, description="Zeros around an image, out of which a part of its size is cut; 0: none."
    )
    flip: bool = Field(default=False, description="Half of the images are mirrored left to right.")


class DatasetSpec(SpecModel):
    """Which images, and how the training set is divided."""

    name: DatasetName
    limit: int | None = Field(
        default=None, ge=10, description="Use this many images of the training set, drawn by split_seed."
    )
    validation: float = Field(
        default=0.2, gt=0, lt=1, description="Stratified share of the training set that the search sees as validation."
    )
    split_seed: int = Field(default=0, ge=0, le=2**32 - 1)
    root: str | None = Field(
        default=None,
        max_length=200,
        description="Folder inside the data folder with a copy of the files, which is only read; none: the data set's "
        "own, filled by a download.",
    )
    verify: bool = Field(
        default=True, description="Compare files with their published checksums; `false` for partial or altered copies."
    )
    normalise: Literal["none", "standard"] = Field(
        default="none",
        description="`standard`: (x - mean)/std of each channel enters the network, under direct coding; see "
        "[data sets](../howto/datasets.md).",
    )
    augment: AugmentSpec = Field(default=AugmentSpec(), description="How training images are altered at random.")
    frames: int | None = Field(
        default=None,
        ge=1,
        le=1_000,
        description="Frames that a recording of events is cut into; `time_steps` divides them.",
    )

    @field_validator("root")
    @classmethod
    def _inside(cls, root: str | None) -> str | None:
        if root is not None and not _FOLDER.fullmatch(root):
            raise ValueError(
                f"expected a folder inside the data folder (SPIKEFRONT_DATA) such as svhn-part or copies/svhn, of "
                f"a-z, A-Z, 0-9, '.', '_', '-' and never upwards, got {root!r}"
            )
        return root


class TrainSpec(SpecModel):
    """How one trial is trained."""

    epochs: int = Field(default=10, ge=1, le=10_000)
    batch: int = Field(default=64, ge=1)
    optimizer: OptimizerName = "adam"
    lr: float = Field(default=2e-3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of `sgd`; the others have none.")
    weight_decay: float = Field(
        default=0.0, ge=0, description="Decay of the weights: decoupled under `adamw`, else added to the gradient."
    )
    schedule: ScheduleName = "cosine"
    warmup_epochs: int = Field(
        default=0, ge=0, description="Epochs over which the learning rate rises to what the schedule says."
    )
    step_epochs: int = Field(default=5, ge=1, description="Epochs between two falls of the schedule `step`.")
    gamma: float = Field(
        default=0.5, gt=0, le=1, description="Factor of a fall of `step`, or of every epoch of `exponential`."
    )
    rate_penalty: float = Field(
        default=0.0,
        ge=0,
        description="What the loss gains for a firing rate of the hidden layers 1 away from `target_rate`; 0 for none.",
    )
    target_rate: float = Field(
        default=0.0, ge=0, le=1, description="Spikes per neuron and step that `rate_penalty` draws the layers to."
    )
    micro_batch: int | None = Field(
        default=None, ge=1, description="Most images trained at once; none: as many as 64 MB of activity hold."
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Dropout: share of the inputs of fully connected layers behind other layers that training drops at "
        "random, the same ones at all steps of an image.",
    )
    max_minutes: float | None = Field(
        default=None, gt=0, description="Training time after which a trial ends early, at the end of an epoch."
    )
    seed: Literal["trial", "fixed"] = Field(
        default="trial", description="Each trial a seed of its own, or all trials the same."
    )


class ConstraintsSpec(SpecModel):
    """What makes a trial infeasible: it never enters a front."""

    floor: dict[str, float] = Field(
        default_factory=dict, description="Least accuracy; default half way between chance and 1."
    )
    fits_device: bool = True
    at_most: dict[Ceiling, Annotated[float, Field(gt=0)]] = Field(
        default={}, description="Most latency, energy of an image, or power (their ratio) of a feasible trial."
    )

    @field_validator("floor")
    @classmethod
    def _known(cls, floor: dict[str, float]) -> dict[str, float]:
        for name, value in floor.items():
            if name != "accuracy":
                raise ValueError(f"a floor holds for accuracy only, got {name!r}")
            if not 0 <= value < 1:
                raise ValueError(f"the accuracy floor is a share from 0 to below 1, got {value:g}")
        return floor


class Study(SpecModel):
    """One study; `resolve` turns it into the settings of one trial.

    The fields are described in `docs/reference/study-file.md`.
    """

    study: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    notes: str | None = Field(default=None, max_length=10_000)
    dataset: DatasetSpec
    network: str = Field(max_length=500)
    pool: Literal["before_lif", "after_lif"] = "before_lif"
    encoding: Literal["direct", "rate", "latency", "events"] = "direct"
    time_steps: int = Field(ge=1, le=1_000)
    neuron: Literal["lif", "lapicque"] = "lif"
    reset: Literal["subtract", "zero"] = "subtract"
    learn: tuple[Literal["beta", "threshold"], ...] = Field(
        default=(), description="What each layer learns for itself, from `beta` and `threshold` on."
    )
    surrogate: SurrogateName = "atan"
    slope: float = Field(
        default=25.0,
        gt=0,
        le=LARGEST,
        description="Slope k of fast_sigmoid: 1/(1+k|u-theta|)^2; of sigmoid and of spike_rate_escape.",
    )
    alpha: float = Field(
        default=2.0, gt=0, le=LARGEST, description="Alpha of atan: (alpha/2)/(1+(pi/2*alpha*(u-theta))^2)."
    )
    escape: float = Field(
        default=1.0, gt=0, le=LARGEST, description="Decay b of spike_rate_escape: k*exp(-b|u-theta-1|), k the slope."
    )
    beta: float = Field(default=0.25, ge=0, le=1)
    threshold: float = Field(default=1.0, gt=0, le=LARGEST)
    loss: LossName = "mse_count"
    weight_bits: WeightBits = 32
    train: TrainSpec
    accelerator: AcceleratorSpec
    search: dict[str, Domain]
    objectives: tuple[Literal["accuracy", "latency_ms", "fps_per_watt", "energy_uj"], ...] = (
        "accuracy",
        "latency_ms",
        "fps_per_watt",
    )
    constraints: ConstraintsSpec = ConstraintsSpec()
    sampler: SamplerSpec = SamplerSpec()
    stopping: StoppingSpec = StoppingSpec()
    budget: BudgetSpec
    baseline: dict[str, bool | int | float | str] = Field(default_factory=dict)
    versions: Literal["same", "any"] = "same"

    @field_validator("learn")
    @classmethod
    def _learnable(cls, learn: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if len(set(learn)) != len(learn):
            raise ValueError("names one twice; give beta, threshold or both")
        if "beta" in learn and info.data.get("neuron") == "lapicque":
            raise ValueError("a lapicque neuron's beta is given by its circuit; learn threshold, or use neuron: lif")
        return learn

    @field_validator("beta")
    @classmethod
    def _of_a_circuit(cls, beta: float, info: ValidationInfo) -> float:
        if info.data.get("neuron") == "lapicque" and not _has_circuit(beta):
            raise ValueError(f"{_CIRCUITS}, got {beta:g}; use one such as 0.5, or neuron: lif")
        return beta

    @field_validator("objectives")
    @classmethod
    def _two_or_more(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(names) < 2 or len(set(names)) != len(names):
            raise ValueError(f"name two or more different objectives of {', '.join(OBJECTIVES)}")
        if "accuracy" not in names:
            raise ValueError("accuracy must be among the objectives: the floor and the reference point rest on it")
        return names

    @field_validator("search")
    @classmethod
    def _not_empty(cls, search: dict[str, Domain]) -> dict[str, Domain]:
        if not search:
            raise ValueError(
                "the search space is empty; name at least one dimension, such as beta: {range: [0.05, 0.95]}"
            )
        return search

    @field_validator("search")
    @classmethod
    def _finds_circuits(cls, search: dict[str, Domain]) -> dict[str, Domain]:
        for beta in corners_beside(search, "beta", "neuron", "lapicque"):
            if isinstance(beta, float | int) and not _has_circuit(beta):
                raise ValueError(
                    f"beta may be {beta:g} where neuron is lapicque, but {_CIRCUITS}; narrow beta, such as to "
                    f"[0.05, 0.95], or search it under neuron's choice lif"
                )
        return search

    @property
    def directions(self) -> tuple[Literal["maximize", "minimize"], ...]:
        """Direction of each objective, in the study's order."""
        return tuple(OBJECTIVES[name] for name in self.objectives)

    def floor(self, classes: int) -> float:
        """Least accuracy of a feasible trial: the study's, else half way between chance and 1."""
        return self.constraints.floor.get("accuracy", (1 + 1 / classes) / 2)

    def resolve(self, params: Mapping[str, Scalar]) -> Study:
        """The settings of one trial: this study with `params` written over its fields.

        Raises:
            SpecError: A parameter names no field or its value is not valid there.
        """
        data = self.model_dump(mode="json", by_alias=True)
        for name, value in params.items():
            _write(data, name, value)
        try:
            return Study.model_validate_json(json.dumps(data))
        except ValidationError as error:
            first = error.errors()[0]
            raise SpecError(f"{'.'.join(map(str, first['loc']))}: {problem(first)}") from error

    def with_accelerator(self, chosen: ChosenAccelerator) -> Study:
        """This study with one accelerator and nothing left to search in it."""
        fixed = {**dict(chosen), "search": None, "budget": None, "report": "max_fps_per_watt"}
        return self.model_copy(update={"accelerator": self.accelerator.model_copy(update=fixed)})

    def baseline_params(self) -> Params:
        """Parameters of trial 0: the baseline's, and the study's own values where it is silent.

        Raises:
            SpecError: The baseline names an unknown dimension or lies outside the space.
        """
        data = self.model_dump(mode="json")
        params = walk(self.search, lambda name, domain: _baseline_value(self.baseline, data, name, domain))
        for name in self.baseline:
            if name not in params:
                raise SpecError(
                    f"baseline.{name}: is no dimension under the baseline's choices; remove it, or search it"
                )
        return params

    def frozen(self) -> dict[str, Any]:
        """The part of the study that decides results, as plain values."""
        data = self.model_dump(mode="json", by_alias=True)
        for path in YOUNGER_FIELDS:
            *section, name = path.split(".")
            part, values = (getattr(self, section[0]), data[section[0]]) if section else (self, data)
            if getattr(part, name) == type(part).model_fields[name].default:
                del values[name]
        return {name: data[name] for name in FROZEN if name in data}

    def frozen_hash(self) -> str:
        """SHA-256 (hex) of the frozen part in canonical JSON."""
        return hashlib.sha256(json.dumps(self.frozen(), sort_keys=True).encode()).hexdigest()


def differences(old: Study, new: Study) -> list[str]:
    """The frozen fields in which two studies differ, a line each: `path: old -> new`."""
    before, after = dict(_leaves(old.frozen())), dict(_leaves(new.frozen()))
    return [
        f"{path}: {before.get(path, '(absent)')} -> {after.get(path, '(absent)')}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def _has_circuit(beta: float) -> bool:
    """Whether float32 holds a lapicque neuron's beta apart from 0, where C is 0, and 1, where C is infinite."""
    return 2.0**-126 <= beta < 1 - 2.0**-25


def _baseline_value(baseline: Mapping[str, Scalar], data: Any, name: str, domain: Domain) -> Scalar:
    try:
        value: Scalar = baseline[name] if name in baseline else _read(data, name)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SpecError(f"baseline.{name}: the study has no field {name!r} to take the value from; give it") from error
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and not isinstance(domain, Choice)
        and domain.holds(float(value))
    ):
        return float(value)
    if not domain.holds(value):
        origin = "" if name in baseline else " (the study's own value, as the baseline does not name it)"
        raise SpecError(f"baseline.{name}: {value}{origin} lies outside the search space; expected {domain.describe()}")
    return value


def _read(data: Any, path: str) -> Any:
    for part in path.split("."):
        data = data[_index(part)] if isinstance(data, list) else data[part]
    return data


def _index(part: str) -> int:
    """Place in a list; only `0`, `1`, ... as Python writes them, so that a field has one name."""
    if str(index := int(part)) != part or index < 0:
        raise IndexError(part)
    return index


def _write(data: Any, path: str, value: Scalar) -> None:
    *parents, last = path.split(".")
    try:
        for part in parents:
            data = data[_index(part)] if isinstance(data, list) else data[part]
        if isinstance(data, list):
            data[_index(last)] = value
        else:
            if last not in data:
                raise KeyError(last)
            data[last] = value
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SpecError(f"{path}: no such field; give a dotted path such as train.lr") from error


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}.{index}")
    else:
        yield path, value
