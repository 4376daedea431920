"""The accelerator's section of a study: one accelerator, or a search of many by every trial."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationInfo, field_validator

YOUNGER = ("encoder_widths", "search", "budget", "report")
"""Fields of `accelerator` younger than stored studies: at their default they are not in the frozen part, whose hash
must stay what it was."""

Report = Literal["min_latency", "max_fps_per_watt"]
_Positive = Annotated[int, Field(ge=1)]


class SpecModel(BaseModel):
    """Base of every section of a study: strict and frozen; unknown keys, NaN and infinities are refused."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def _cores_kind(value: Any) -> str | None:
    if isinstance(value, (list, tuple)):
        return "choices"
    return "all" if value == "all" else None


CoreChoices = Annotated[
    Annotated[Literal["all"], Tag("all")] | Annotated[tuple[tuple[_Positive, ...], ...], Tag("choices")],
    Discriminator(
        _cores_kind,
        custom_error_type="cores",
        custom_error_message="expected all, or numbers of cores to try for each weighted layer, such as [[2, 4], [5]]",
    ),
]


class AcceleratorSearch(SpecModel):
    """The accelerators that every trial tries with its trained network."""

    neural_cores: CoreChoices = Field(
        default="all", description="Numbers of cores to try, a list for each weighted layer; `all`: every divisor."
    )
    encoder_divisors: tuple[_Positive, ...] = Field(
        default=(4,),
        description="Encoders to try, for each d: a convolution's as wide as a d-th of its map, a fully connected "
        "layer's 4/d as wide as its own.",
    )

    @field_validator("neural_cores")
    @classmethod
    def _choices(cls, choices: CoreChoices) -> CoreChoices:
        for index, cores in enumerate(choices if choices != "all" else ()):
            _check_options(cores, f"entry {index}")
        return choices

    @field_validator("encoder_divisors")
    @classmethod
    def _divisors(cls, divisors: tuple[int, ...]) -> tuple[int, ...]:
        _check_options(divisors, "the list")
        return divisors


class HardwareBudget(SpecModel):
    """What an accelerator may occupy at most; without a limit, what the device has."""

    luts: int | None = Field(default=None, ge=1)
    flip_flops: int | None = Field(default=None, ge=1)
    bram36: float | None = Field(default=None, gt=0)
    dsp: int | None = Field(default=None, ge=0)

    def limits(self) -> dict[str, float]:
        """The limits that are given, by part."""
        return {name: limit for name, limit in self if limit is not None}


class AcceleratorSpec(SpecModel):
    """The accelerator that runs the trained network."""

    preset: Literal["event-driven-2023"] = "event-driven-2023"
    neural_cores: tuple[_Positive, ...] = Field(
        description="Neural cores of each weighted layer; each divides the layer's width."
    )
    encoder_widths: tuple[_Positive | None, ...] | None = Field(
        default=None,
        description="Positions each layer's encoder searches at once; null for the preset's, and for a dense core.",
    )
    clock_mhz: float = Field(default=100.0, gt=0)
    device: str = "xcku115"
    input: Literal["same", "rate"] = Field(
        default="same", description="Input coding on the accelerator: as trained, or rate-coded."
    )
    mode: Literal["ideal", "rtl", "tlm"] = "ideal"
    schedule: Literal["sequential", "ping_pong"] = "sequential"
    search: AcceleratorSearch | None = None
    budget: HardwareBudget | None = None
    report: Report = "max_fps_per_watt"

    @field_validator("search")
    @classmethod
    def _of_the_intended_design(
        cls, search: AcceleratorSearch | None, info: ValidationInfo
    ) -> AcceleratorSearch | None:
        if search is not None and (mode := info.data.get("mode", "ideal")) != "ideal":
            raise ValueError(f"accelerators are compared in mode ideal, got mode {mode}; remove one of the two")
        return search

    @field_validator("budget")
    @classmethod
    def _needs_search(cls, budget: HardwareBudget | None, info: ValidationInfo) -> HardwareBudget | None:
        if budget is not None and not budget.limits():
            raise ValueError("no limit given; set luts, flip_flops, bram36 or dsp")
        if budget is not None and "search" in info.data and info.data["search"] is None:
            raise ValueError("holds for a search of accelerators only; add search: {}, or remove it")
        return budget

    @field_validator("report")
    @classmethod
    def _chooses_from_search(cls, report: Report, info: ValidationInfo) -> Report:
        if report != "max_fps_per_watt" and "search" in info.data and info.data["search"] is None:
            raise ValueError("chooses among searched accelerators only; add search: {}, or remove it")
        return report


class ChosenAccelerator(SpecModel):
    """What a trial chose out of its search: cores and encoder width of each layer, null for a dense core."""

    neural_cores: tuple[int, ...]
    encoder_widths: tuple[int | None, ...]


def _check_options(options: tuple[int, ...], place: str) -> None:
    if not options:
        raise ValueError(f"{place} is empty; give at least one number")
    if len(set(options)) != len(options):
        raise ValueError(f"{place} names a number twice; keep one")
