"""How a study is searched: who suggests, who is stopped early, when it ends. These may change while a study lives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from objectives.acceleratorspec import SpecModel


class SamplerSpec(SpecModel):
    """Who suggests parameters."""

    name: Literal["tpe", "nsga2", "nsga3", "gp", "qmc", "random", "grid"] = "tpe"
    seed: int = Field(default=0, ge=0)
    limit_s: float = Field(
        default=5.0,
        gt=0,
        le=3600,
        description="With `gp`: once a suggestion took longer than this [s], TPE makes those that follow.",
    )


class StoppingSpec(SpecModel):
    """Which trials end before their last epoch; they report all objectives at epochs `grace_epochs * reduction^k`."""

    name: Literal["none", "moasha", "median-front", "skyband"] = "none"
    reduction: int = Field(default=3, ge=2)
    grace_epochs: int = Field(default=1, ge=1)
    spare: int = Field(
        default=10,
        ge=0,
        description="One in so many trials is trained to its end though it loses, to measure wrong stops; 0 for none.",
    )


class BudgetSpec(SpecModel):
    """When the study ends; the first limit reached counts, running trials finish."""

    trials: int | None = Field(default=None, ge=1, le=1_000_000)
    epochs: int | None = Field(default=None, ge=1, le=1_000_000_000)
    hours: float | None = Field(default=None, gt=0, le=1_000_000)
    max_failures: int = Field(
        default=5, ge=1, le=1_000_000, description="Failures in a row with one message after which the study pauses."
    )

    @model_validator(mode="after")
    def _limited(self) -> BudgetSpec:
        if self.trials is None and self.epochs is None and self.hours is None:
            raise ValueError("no limit given; set trials, epochs or hours")
        return self
