"""The fields of training: what they refuse, and that they leave older studies' hashes alone."""

from __future__ import annotations

from typing import Any

import pytest

from objectives.errors import SpecError
from objectives.spec import differences
from objectives.studyfile import parse_study
from tests.support.studies import STUDY_YAML, make_study

YOUNGER: dict[str, Any] = {
    "momentum": 0.8, "weight_decay": 0.1, "warmup_epochs": 1, "step_epochs": 2, "gamma": 0.1, "rate_penalty": 0.5,
    "target_rate": 0.1, "micro_batch": 8,
}  # fmt: skip
OWN = {"epochs": 2, "batch": 32, "lr": 5e-3}
DEFAULTS: dict[str, Any] = {
    "momentum": 0.9, "weight_decay": 0.0, "warmup_epochs": 0, "step_epochs": 5, "gamma": 0.5, "rate_penalty": 0.0,
    "target_rate": 0.0, "micro_batch": None,
}  # fmt: skip


def test_younger_fields_at_their_default_are_not_in_the_hash() -> None:
    spelled = make_study(train={**OWN, **DEFAULTS}, weight_bits=32)
    assert spelled.frozen_hash() == make_study().frozen_hash()
    assert differences(make_study(), spelled) == []


@pytest.mark.parametrize("name", YOUNGER)
def test_younger_fields_with_another_value_are(name: str) -> None:
    after = make_study(train={**OWN, name: YOUNGER[name]})
    assert after.frozen_hash() != make_study().frozen_hash()
    assert differences(make_study(), after) == [f"train.{name}: (absent) -> {YOUNGER[name]}"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("loss: ce_rate", "weight_bits: 16\nloss: ce_rate", "6: weight_bits: expected 32, 8 or 4, got 16"),
        ("loss: ce_rate", "loss: hinge", "6: loss: expected 'mse_count', 'ce_rate', "),
        ("loss: ce_rate", "slope: 0\nloss: ce_rate", "6: slope: expected greater than 0, got 0"),
        ("loss: ce_rate", "alpha: -2.0\nloss: ce_rate", "6: alpha: expected greater than 0, got -2"),
        ("loss: ce_rate", "slope: .inf\nloss: ce_rate", "6: slope: expected a finite number, got inf"),
        ("lr: 5.0e-3", "optimizer: lion", "7: train.optimizer: expected 'adam', 'adamw', "),
        ("lr: 5.0e-3", "schedule: plateau", "7: train.schedule: expected 'constant', 'cosine', "),
        ("lr: 5.0e-3", "momentum: 1.0", "7: train.momentum: expected less than 1, got 1"),
        ("lr: 5.0e-3", "rate_penalty: -1.0", "7: train.rate_penalty: expected greater than or equal to 0, got -1"),
        ("lr: 5.0e-3", "target_rate: 1.5", "7: train.target_rate: expected less than or equal to 1, got 1.5"),
        ("lr: 5.0e-3", "gamma: 0.0", "7: train.gamma: expected greater than 0, got 0"),
        ("lr: 5.0e-3", "micro_batch: 0", "7: train.micro_batch: expected greater than or equal to 1, got 0"),
    ],
)
def test_what_training_refuses(old: str, new: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(STUDY_YAML.replace(old, new))
    assert str(caught.value).startswith(f"study.yaml:{problem}")


def test_all_of_them_are_dimensions_of_a_search() -> None:
    search = {
        "weight_bits": {"choice": [32, 8, 4]},
        "loss": {"choice": ["ce_count", "mse_temporal", "ce_max_membrane"]},
        "train.optimizer": {"choice": {"adamw": {"train.weight_decay": {"log": [1e-5, 1e-1]}}, "sgd": {}}},
        "train.schedule": {"choice": ["one_cycle", "linear"]},
        "train.rate_penalty": {"range": [0.0, 1.0]},
        "train.target_rate": {"range": [0.0, 0.5]},
    }
    study = make_study(
        search=search, baseline={"loss": "ce_count", "train.optimizer": "sgd", "train.schedule": "linear"}
    )
    trial = study.resolve({"weight_bits": 4, "loss": "mse_temporal", "train.rate_penalty": 0.25})
    assert (trial.weight_bits, trial.loss, trial.train.rate_penalty) == (4, "mse_temporal", 0.25)
