"""The search space: dimensions named by dotted paths into the study, with conditions that nest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Scalar = bool | int | float | str
Params = dict[str, Scalar]
MAX_STEPS = 1_000_000


class _Domain(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Range(_Domain):
    """`{range: [low, high]}`, both ends included; `step` makes it a grid."""

    range: tuple[float, float]
    step: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        _check_order(self.range, "range")
        if self.step is not None and not (self.range[1] - self.range[0]) / self.step < MAX_STEPS:
            raise ValueError(f"step: {self.step:g} gives {MAX_STEPS:,} values or more; use a larger step, or none")
        return self

    def holds(self, value: Scalar) -> bool:
        """Whether the value lies inside (on a step, where there is one)."""
        if not _is_number(value) or not self.range[0] <= float(value) <= self.range[1]:
            return False
        return self.step is None or _on_step(float(value) - self.range[0], self.step)

    def points(self) -> tuple[Scalar, ...] | None:
        """Every value of a stepped range; None without a step."""
        if self.step is None:
            return None
        count = math.floor((self.range[1] - self.range[0]) / self.step + 1e-9)
        return tuple(self.range[0] + index * self.step for index in range(count + 1))

    def corners(self) -> tuple[Scalar, ...]:
        """The values at which the study is checked."""
        return self.range

    def describe(self) -> str:
        """Words for an error message."""
        return f"{self.range[0]:g} to {self.range[1]:g}" + (f" in steps of {self.step:g}" if self.step else "")


class Log(_Domain):
    """`{log: [low, high]}`: uniform in the logarithm, both ends included, low > 0."""

    log: tuple[float, float]

    @model_validator(mode="after")
    def _ordered(self) -> Log:
        _check_order(self.log, "log")
        if self.log[0] <= 0:
            raise ValueError(f"log: the lower end must be above 0, got {self.log[0]:g}; use range for others")
        return self

    def holds(self, value: Scalar) -> bool:
        """Whether the value lies inside."""
        return _is_number(value) and self.log[0] <= float(value) <= self.log[1]

    def points(self) -> None:
        """A continuous domain has no points."""
        return

    def corners(self) -> tuple[Scalar, ...]:
        """The values at which the study is checked."""
        return self.log

    def describe(self) -> str:
        """Words for an error message."""
        return f"{self.log[0]:g} to {self.log[1]:g}"


class Integer(_Domain):
    """`{int: [low, high]}`, both ends included; `step` defaults to 1."""

    int_: tuple[int, int] = Field(alias="int")
    step: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Integer:
        _check_order(self.int_, "int")
        return self

    def holds(self, value: Scalar) -> bool:
        """Whether the value is a whole number inside and on a step."""
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.int_[0] <= value <= self.int_[1] and (value - self.int_[0]) % self.step == 0

    def points(self) -> Sequence[int]:
        """Every value."""
        return range(self.int_[0], self.int_[1] + 1, self.step)

    def corners(self) -> tuple[Scalar, ...]:
        """The values at which the study is checked."""
        return (self.int_[0], self.int_[1] - (self.int_[1] - self.int_[0]) % self.step)

    def describe(self) -> str:
        """Words for an error message."""
        return f"a whole number from {self.int_[0]} to {self.int_[1]}" + (
            f" in steps of {self.step}" if self.step > 1 else ""
        )


class Choice(_Domain):
    """`{choice: [a, b]}`, or `{choice: {a: {...}, b: {...}}}` where each option brings dimensions of its own."""

    choice: tuple[Scalar, ...] | dict[str, dict[str, Domain]]

    @model_validator(mode="after")
    def _usable(self) -> Choice:
        if not self.choice:
            raise ValueError("choice: no option given; list at least one")
        if len(set(map(repr, self.options))) != len(self.options):
            raise ValueError("choice: an option stands twice; keep one")
        return self

    @property
    def options(self) -> tuple[Scalar, ...]:
        """The values to choose from, in the order of the file."""
        return tuple(self.choice)

    def under(self, option: Scalar) -> Mapping[str, Domain]:
        """The dimensions that exist only where `option` is chosen."""
        if isinstance(self.choice, dict) and isinstance(option, str):
            return self.choice.get(option, {})
        return {}

    def holds(self, value: Scalar) -> bool:
        """Whether the value is an option (`1`, `1.0` and `true` differ)."""
        return any(value == option and type(value) is type(option) for option in self.options)

    def points(self) -> tuple[Scalar, ...]:
        """Every option."""
        return self.options

    def corners(self) -> tuple[Scalar, ...]:
        """The values at which the study is checked."""
        return self.options

    def describe(self) -> str:
        """Words for an error message."""
        return "one of " + ", ".join(map(str, self.options))


_KINDS = ("range", "log", "int", "choice")


def _kind(value: Any) -> str | None:
    if isinstance(value, _Domain):
        return {Range: "range", Log: "log", Integer: "int", Choice: "choice"}[type(value)]
    if isinstance(value, dict):
        found = [kind for kind in _KINDS if kind in value]
        return found[0] if len(found) == 1 else None
    return None


Domain = Annotated[
    Annotated[Range, Tag("range")]
    | Annotated[Log, Tag("log")]
    | Annotated[Integer, Tag("int")]
    | Annotated[Choice, Tag("choice")],
    Discriminator(
        _kind,
        custom_error_type="domain",
        custom_error_message="expected {range: [low, high]}, {log: [low, high]}, {int: [low, high]} or {choice: [...]}",
    ),
]
Choice.model_rebuild()


def dimensions(space: Mapping[str, Domain], _when: Params | None = None) -> Iterator[tuple[str, Domain, Params]]:
    """Every dimension with the choices under which it exists: `(name, domain, conditions)`."""
    for name, domain in space.items():
        yield name, domain, dict(_when or {})
        if isinstance(domain, Choice):
            for option in domain.options:
                yield from dimensions(domain.under(option), {**(_when or {}), name: option})


def corners_beside(space: Mapping[str, Domain], name: str, chosen: str, option: Scalar) -> Iterator[Scalar]:
    """The corners of a dimension wherever another one can be at `option`, but not where it exists under that one."""
    found = [
        {**when, chosen: option}
        for other, domain, when in dimensions(space)
        if other == chosen and domain.holds(option)
    ]
    for other, domain, when in dimensions(space):
        if other == name and chosen not in when and any(_can_meet(when, conditions) for conditions in found):
            yield from domain.corners()


def walk(space: Mapping[str, Domain], pick: Callable[[str, Domain], Scalar]) -> Params:
    """Pick a value for each dimension that exists, following the conditions, in the order of the file."""
    params: Params = {}
    for name, domain in space.items():
        params[name] = pick(name, domain)
        if isinstance(domain, Choice):
            params |= walk(domain.under(params[name]), pick)
    return params


def has_conditions(space: Mapping[str, Domain]) -> bool:
    """Whether a dimension exists only under some choice."""
    return any(conditions for _, _, conditions in dimensions(space))


def grid_size(space: Mapping[str, Domain]) -> int | None:
    """Number of points of the full grid over an unconditional space; None where a domain is continuous."""
    size = 1
    for _, domain, _ in dimensions(space):
        points = domain.points()
        if points is None:
            return None
        size *= len(points)
    return size


def _can_meet(conditions: Params, others: Params) -> bool:
    """Whether both conditions can hold at once."""
    return all(conditions[name] == others[name] for name in conditions.keys() & others.keys())


def _is_number(value: Scalar) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _on_step(distance: float, step: float) -> bool:
    return abs(distance / step - round(distance / step)) < 1e-9


def _check_order(ends: tuple[float, float], name: str) -> None:
    if ends[0] >= ends[1]:
        raise ValueError(f"{name}: the lower end {ends[0]:g} must be below the upper end {ends[1]:g}")
