from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from objectives.checkpoint import load_tensors
from objectives.data import load_dataset
from objectives.errors import CheckpointError, TrainingError
from objectives.spec import Study
from objectives.train import Training
from tests.unit.objectives.factory import make_data, make_study

ROOT = Path(__file__).parents[3]
FIELDS: dict[str, Any] = {"encoding": "rate", "threshold": 0.5, "train": {"epochs": 3, "batch": 40, "lr": 5e-3}}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def never() -> bool:
    return False


def after(batches: int) -> Callable[[], bool]:
    """A `stop` that says so after so many batches."""
    asked = iter(range(1, 1_000_000))
    return lambda: next(asked) >= batches


def finish(training: Training) -> dict[str, Any]:
    """Train to the end; what came out, JSON-ready and without times."""
    epochs = []
    while not training.finished:
        epoch = training.run_epoch(never)
        assert epoch is not None
        epochs.append([epoch.epoch, epoch.loss, epoch.accuracy, epoch.firing_rate])
    return {"epochs": epochs, "weights": hashlib.sha256(training.weights()).hexdigest()}


def begin(study: Study, seed: int = 11) -> Training:
    return Training(study, seed, make_data())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("batches", [1, 2, 3, 4, 7], ids=lambda count: f"after-{count}")
def test_interrupted_training_ends_bit_equal(optimizer: str, batches: int) -> None:
    study = make_study(**{**FIELDS, "train": {**FIELDS["train"], "optimizer": optimizer}})
    whole = finish(begin(study))
    training, stop, seen = begin(study), after(batches), 0
    while (epoch := training.run_epoch(stop)) is not None:
        seen = epoch.epoch
    assert training.epoch == seen == (batches - 1) // 3  # 96 images in batches of 40: 3 an epoch
    resumed = begin(study)
    resumed.restore(training.state())
    rest = finish(resumed)
    assert rest["weights"] == whole["weights"]
    assert rest["epochs"] == whole["epochs"][seen:]


def test_a_new_process_ends_bit_equal(tmp_path: Path) -> None:
    study = make_study(**FIELDS)
    whole = finish(begin(study))
    states = {"mid-epoch": after(2), "last batch": after(3), "epoch end": None}
    for name, stop in states.items():
        training = begin(study)
        assert (training.run_epoch(stop or never) is None) == (stop is not None)
        (tmp_path / name).write_bytes(training.state())
    code = (
        "import json, sys, torch; from pathlib import Path; torch.set_num_threads(1); torch.manual_seed(999)\n"
        "from tests.unit.objectives.test_train import FIELDS, begin, finish, make_study\n"
        "for path in sys.argv[1:]:\n"
        "    training = begin(make_study(**FIELDS)); training.restore(Path(path).read_bytes())\n"
        "    print(json.dumps(finish(training)))\n"
    )
    paths = [str(tmp_path / name) for name in states]
    out = subprocess.run(
        [sys.executable, "-c", code, *paths], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    rests = [json.loads(line) for line in out.splitlines()]
    assert [rest["weights"] for rest in rests] == [whole["weights"]] * 3
    assert [rest["epochs"] for rest in rests] == [whole["epochs"], whole["epochs"], whole["epochs"][1:]]


def test_a_stopped_training_goes_on_in_place() -> None:
    study = make_study(**FIELDS)
    training = begin(study)
    assert training.run_epoch(after(1)) is None
    assert training.run_epoch(after(2)) is None  # the epoch's last batch: it still lacks its validation
    assert training.epoch == 0
    assert finish(training) == finish(begin(study))


def test_seed_and_settings_decide_the_result() -> None:
    base = finish(begin(make_study(**FIELDS)))["weights"]
    assert finish(begin(make_study(**FIELDS)))["weights"] == base
    assert finish(begin(make_study(**FIELDS), seed=12))["weights"] != base
    assert finish(begin(make_study(**{**FIELDS, "beta": 0.5})))["weights"] != base


@pytest.mark.parametrize(
    "other",
    [
        {"beta": 0.9},
        {"threshold": 0.6},
        {"train": {**FIELDS["train"], "lr": 1e-3}},
        {"network": "4C3p1-MP2-6C3-MP2-12-10"},
    ],
    ids=str,
)
def test_a_checkpoint_of_another_trial_is_refused(other: dict[str, Any]) -> None:
    state = begin(make_study(**FIELDS)).state()
    with pytest.raises(CheckpointError, match="belongs to other settings or another seed"):
        begin(make_study(**{**FIELDS, **other})).restore(state)
    with pytest.raises(CheckpointError, match="belongs to other settings or another seed"):
        begin(make_study(**FIELDS), seed=12).restore(state)


def test_a_study_changed_outside_its_training_keeps_its_checkpoints() -> None:
    state = begin(make_study(**FIELDS)).state()
    begin(make_study(**FIELDS, budget={"trials": 99}, accelerator={"neural_cores": [4, 6, 4, 2]})).restore(state)


def test_a_refused_checkpoint_changes_nothing() -> None:
    study = make_study(**FIELDS)
    donor, training = begin(study), begin(study)
    donor.run_epoch(never)
    before = training.state()
    torn = bytearray(donor.state())
    torn[-1] ^= 1
    with pytest.raises(CheckpointError):
        training.restore(bytes(torn))
    assert training.state() == before


def test_weights_are_the_network_alone() -> None:
    training = begin(make_study(**FIELDS))
    tensors = load_tensors(training.weights())
    assert tensors.keys() == training.network.state_dict().keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in training.network.state_dict().items())


def test_each_image_once_an_epoch_in_an_order_of_its_own() -> None:
    training, seen = begin(make_study(train={"epochs": 2, "batch": 40})), Seen()
    training.network.register_forward_pre_hook(seen.images)
    finish(training)
    batches = seen.batches
    assert [len(batch) for batch in batches] == [40, 40, 16] * 2
    epochs = [torch.cat(batches[:3]).flatten(1), torch.cat(batches[3:]).flatten(1)]
    data = make_data().train.images.flatten(1)
    for images in epochs:
        assert sorted(map(tuple, images.tolist())) == sorted(map(tuple, data.tolist()))
    assert not torch.equal(*epochs)


def test_rate_coding_draws_anew_for_each_batch_and_epoch() -> None:
    data = make_data()
    grey = replace(data, train=replace(data.train, images=torch.full_like(data.train.images, 0.5)))
    training = Training(make_study(encoding="rate", train={"epochs": 2, "batch": 48}), 11, grey)
    seen = Seen()
    training.network.register_forward_pre_hook(seen.images)
    finish(training)
    assert len({batch.numpy().tobytes() for batch in seen.batches}) == 4


def test_cosine_falls_from_lr_to_zero_over_all_iterations() -> None:
    rates = {}
    for schedule in ("cosine", "constant"):
        training, seen = begin(make_study(train={"epochs": 2, "batch": 48, "lr": 0.01, "schedule": schedule})), Seen()
        training._optimizer.register_step_pre_hook(seen.rate)
        finish(training)
        rates[schedule] = seen.rates
    assert rates["constant"] == [0.01] * 4
    assert rates["cosine"] == pytest.approx([0.01, 0.01 * (1 + 0.5**0.5) / 2, 0.005, 0.01 * (1 - 0.5**0.5) / 2])


class Seen:
    """Hooks that note what passes."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []
        self.rates: list[float] = []

    def images(self, module: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self.batches.append(arguments[0].clone())

    def rate(self, optimizer: torch.optim.Optimizer, arguments: Any, named: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])


def test_max_minutes_ends_after_the_epoch_and_survives_a_restart() -> None:
    study = make_study(train={"epochs": 50, "max_minutes": 1e-9})
    training = begin(study)
    assert not training.finished
    assert training.run_epoch(after(1)) is None
    assert not training.finished
    assert training.run_epoch(never) is not None
    assert training.finished
    resumed = begin(study)
    resumed.restore(training.state())
    assert resumed.finished
    assert (resumed.epoch, resumed.epochs) == (1, 50)


def test_weights_that_are_not_finite_are_an_error() -> None:
    training = begin(make_study(train={"lr": 1e300}))
    with pytest.raises(TrainingError, match=r"epoch 1: loss \(.*\) or weights are not finite; lower train\.lr"):
        training.run_epoch(never)


def test_a_network_gone_silent_by_nan_is_an_error_though_its_loss_is_finite() -> None:
    training = begin(make_study())
    with torch.no_grad():
        next(training.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"epoch 1: loss \(\d.*\) or weights are not finite"):
        training.run_epoch(never)


@pytest.mark.parametrize("loss", ["mse_count", "ce_rate", "ce_count"])
@pytest.mark.parametrize("network", ["6C3-MP2-10", "6C3-MP2-30"])
def test_every_loss_learns(loss: str, network: str) -> None:
    study = make_study(
        network=network,
        loss=loss,
        threshold=0.3,
        train={"epochs": 12, "batch": 16, "lr": 0.01},
        accelerator={"neural_cores": [2, 2]},
    )
    epochs = finish(begin(study))["epochs"]
    assert epochs[-1][1] < epochs[0][1]
    assert epochs[-1][2] > 0.8


def test_digits_are_learned() -> None:
    study = make_study(
        network="8C3-MP2-50-10",
        threshold=0.5,
        loss="ce_count",
        time_steps=5,
        train={"epochs": 3, "batch": 32, "lr": 0.01},
    )
    training = Training(study, 0, load_dataset(study.dataset, Path("unused")))
    assert finish(training)["epochs"][-1][2] > 0.8
