"""Optimizers and learning rates: those of torch, without a scheduler's state."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch.optim import lr_scheduler

from objectives.optimizer import learning_rate, optimizer_of
from objectives.spec import OptimizerName, ScheduleName, TrainSpec

EPOCHS, BATCHES = 7, 3


def _plain(lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


def _torchs_rates(make: Any) -> list[float]:
    """The rates that a scheduler of torch gives; `per epoch` where `make` says so."""
    optimizer = _plain()
    scheduler, every = make(optimizer)
    rates = []
    for iteration in range(EPOCHS * BATCHES):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (iteration + 1) % every == 0 and iteration + 1 < EPOCHS * BATCHES:
            scheduler.step()
    return rates


def _ours(**fields: Any) -> list[float]:
    train = TrainSpec(epochs=EPOCHS, lr=0.1, **fields)
    return [learning_rate(train, iteration, BATCHES) for iteration in range(EPOCHS * BATCHES)]


TOTAL = EPOCHS * BATCHES
TORCHS: dict[ScheduleName, Any] = {
    "constant": lambda one: (lr_scheduler.ConstantLR(one, factor=1.0), 1),
    "cosine": lambda one: (lr_scheduler.CosineAnnealingLR(one, T_max=TOTAL), 1),
    "linear": lambda one: (lr_scheduler.PolynomialLR(one, total_iters=TOTAL, power=1.0), 1),
    "step": lambda one: (lr_scheduler.StepLR(one, step_size=2, gamma=0.3), BATCHES),
    "exponential": lambda one: (lr_scheduler.ExponentialLR(one, gamma=0.3), BATCHES),
    "one_cycle": lambda one: (lr_scheduler.OneCycleLR(one, 0.1, total_steps=TOTAL, cycle_momentum=False), 1),
}


@pytest.mark.parametrize("schedule", get_args(ScheduleName))
def test_every_schedule_is_torchs(schedule: ScheduleName) -> None:
    ours = _ours(schedule=schedule, step_epochs=2, gamma=0.3)
    assert ours == pytest.approx(_torchs_rates(TORCHS[schedule]), rel=1e-9)
    assert (len(set(ours)) > 1) == (schedule != "constant")


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warmup_is_torchs_linear_rise_times_the_schedule(schedule: ScheduleName) -> None:
    def make(optimizer: torch.optim.Optimizer) -> Any:
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / 6, total_iters=5)  # over 2 epochs of 3 batches
        return lr_scheduler.ChainedScheduler([rise, TORCHS[schedule](optimizer)[0]]), 1

    assert _ours(schedule=schedule, warmup_epochs=2) == pytest.approx(_torchs_rates(make), rel=1e-9)


ITS_CLASS = {
    "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "nadam": torch.optim.NAdam, "radam": torch.optim.RAdam,
    "adamax": torch.optim.Adamax, "rmsprop": torch.optim.RMSprop, "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
}  # fmt: skip


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_every_optimizer_moves_as_torchs_own(name: OptimizerName, decay: float) -> None:
    start = torch.linspace(-1, 1, 5)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    momentum: dict[str, Any] = {"momentum": 0.7} if name == "sgd" else {}
    one = optimizer_of(TrainSpec(optimizer=name, lr=0.01, weight_decay=decay, **momentum), [ours])
    other = ITS_CLASS[name]([theirs], lr=0.01, weight_decay=decay, **momentum)
    for _ in range(8):
        for parameter, optimizer in ((ours, one), (theirs, other)):
            parameter.grad = torch.sin(3 * parameter.detach())
            optimizer.step()
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-6, atol=1e-7)
    assert not torch.equal(ours.detach(), start)
