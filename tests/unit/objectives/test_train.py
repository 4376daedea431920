from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from objectives.checkpoint import load_tensors
from objectives.data import load_dataset
from objectives.errors import CheckpointError, TrainingError
from objectives.network import SpikingNetwork
from objectives.spec import LossName, OptimizerName, Study
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


WAYS: dict[str, dict[str, Any]] = {
    **{name: {"train": {"optimizer": name}} for name in get_args(OptimizerName)},
    "sgd without momentum": {"train": {"optimizer": "sgd", "momentum": 0.0}},
    "8 bits": {"weight_bits": 8},
    "4 bits, warmed up, in parts": {
        "weight_bits": 4, "train": {"warmup_epochs": 1, "schedule": "one_cycle", "micro_batch": 16},
    },
    "quiet, on membranes": {"loss": "ce_max_membrane", "train": {"rate_penalty": 1.0, "target_rate": 0.1}},
    "altered images, rate-coded in parts": {
        "dataset": {"name": "digits", "augment": {"crop": 1, "flip": True}}, "train": {"micro_batch": 16},
    },
    "dropout in parts": {"train": {"dropout": 0.5, "micro_batch": 16, "rate_penalty": 0.1}},
    "learned neurons": {"learn": ["beta", "threshold"]},
    "on times, steps": {"loss": "mse_temporal", "train": {"schedule": "step", "step_epochs": 1, "weight_decay": 0.1}},
}  # fmt: skip


ELSEWHERE = (
    "adam", "nadam", "8 bits", "4 bits, warmed up, in parts", "quiet, on membranes",
    "altered images, rate-coded in parts", "dropout in parts", "on times, steps",
)  # fmt: skip
"""The ways that another process goes on with."""


def way(name: str) -> Study:
    return make_study(**{**FIELDS, **WAYS[name], "train": {**FIELDS["train"], **WAYS[name].get("train", {})}})


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("batches", [1, 3, 4, 7], ids=lambda count: f"after-{count}")
def test_interrupted_training_ends_bit_equal(name: str, batches: int) -> None:
    study = way(name)
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
    states = {"mid-epoch": after(2), "last batch": after(3), "epoch end": None}
    wholes = [finish(begin(way(name))) for name in ELSEWHERE]
    for index, name in enumerate(ELSEWHERE):
        for place in states:
            training, stop = begin(way(name)), {"mid-epoch": after(2), "last batch": after(3)}.get(place)
            assert (training.run_epoch(stop or never) is None) == (stop is not None)
            (tmp_path / f"{index} {place}").write_bytes(training.state())
    code = (
        "import json, sys, torch; from pathlib import Path; torch.set_num_threads(1); torch.manual_seed(999)\n"
        "from tests.unit.objectives.test_train import ELSEWHERE, begin, finish, way\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    training = begin(way(ELSEWHERE[int(path.name.split()[0])])); training.restore(path.read_bytes())\n"
        "    print(json.dumps(finish(training)))\n"
    )
    paths = [str(tmp_path / f"{index} {place}") for index in range(len(ELSEWHERE)) for place in states]
    out = subprocess.run(
        [sys.executable, "-c", code, *paths], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    rests = [json.loads(line) for line in out.splitlines()]
    for index, whole in enumerate(wholes):
        mine = rests[3 * index : 3 * index + 3]
        assert [rest["weights"] for rest in mine] == [whole["weights"]] * 3
        assert [rest["epochs"] for rest in mine] == [whole["epochs"], whole["epochs"], whole["epochs"][1:]]


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
        {"weight_bits": 8},
        {"train": {**FIELDS["train"], "rate_penalty": 0.1}},
        {"train": {**FIELDS["train"], "micro_batch": 20}},
        {"train": {**FIELDS["train"], "dropout": 0.1}},
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


def test_a_checkpoint_from_before_the_younger_fields_is_still_its_own() -> None:
    """A change here strands the checkpoints of every running study."""
    assert begin(make_study(**FIELDS))._trial() == TRIAL


TRIAL = "7131159aed531c5e741441dacf1e65418ccf10a612102d31a921882b8c571157"


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


def test_a_loss_that_explodes_is_told_at_once() -> None:
    training = begin(make_study(loss="mse_membrane", train={"lr": 1e30, "optimizer": "sgd", "batch": 40}))
    with pytest.raises(
        TrainingError, match=r"^epoch 1, batch 2: the loss is not finite \((inf|nan)\); lower train\.lr, "
    ):
        training.run_epoch(never)


def test_weights_that_are_not_finite_are_an_error_though_the_loss_is_finite() -> None:
    training = begin(make_study())
    with torch.no_grad():
        next(training.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"^epoch 1: conv1\.weight is not finite; lower train\.lr, the surrogate's"):
        training.run_epoch(never)


def test_currents_that_are_not_finite_are_an_error_though_weights_and_loss_are_finite() -> None:
    training = begin(make_study(train={"lr": 1e-30, "schedule": "constant"}))
    with torch.no_grad():
        training.network.get_parameter("conv2.weight").fill_(3e38)
        training.network.get_parameter("conv1.weight").fill_(1.0)
    with pytest.raises(TrainingError, match=r"^epoch 1: the currents of conv2 are not finite; lower"):
        training.run_epoch(never)


@pytest.mark.parametrize("loss", get_args(LossName))
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
    assert epochs[-1][2] > (0.6 if loss in ("mse_temporal", "mse_membrane") else 0.8)


@pytest.mark.parametrize("optimizer", get_args(OptimizerName))
def test_every_optimizer_learns(optimizer: str) -> None:
    rates = {"radam": 0.1, "sgd": 0.05, "adagrad": 0.05}
    study = make_study(
        network="6C3-MP2-10",
        loss="ce_count",
        threshold=0.3,
        train={"epochs": 20, "batch": 16, "lr": rates.get(optimizer, 0.01), "optimizer": optimizer},
        accelerator={"neural_cores": [2, 2]},
    )
    assert finish(begin(study))["epochs"][-1][2] > 0.8


def gradients(**train: Any) -> dict[str, Tensor]:
    """Of the first batch of 40 images, before the optimizer moves."""
    study = make_study(**{**FIELDS, "network": "6C3-MP2-10", "train": {"batch": 40, **train}})
    training, seen = begin(study), dict[str, Tensor]()
    training._optimizer.register_step_pre_hook(lambda *_: seen.update(_gradients_of(training.network)))
    training.run_epoch(after(1))
    return seen


def _gradients_of(network: SpikingNetwork) -> dict[str, Tensor]:
    return {name: one.grad.clone() for name, one in network.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("settings", [{}, {"rate_penalty": 1.0}, {"dropout": 0.5}], ids=str)
@pytest.mark.parametrize("most", [1, 7, 16, 39])
def test_parts_of_a_batch_give_its_gradient(most: int, settings: dict[str, float]) -> None:
    whole, parts = gradients(**settings), gradients(micro_batch=most, **settings)
    assert whole.keys() == parts.keys() != set()
    for name, gradient in whole.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6 * float(gradient.abs().max()) + 1e-7)


def test_a_batch_that_fits_is_not_parted_and_ends_with_the_same_bits() -> None:
    assert finish(begin(make_study(**FIELDS))) == finish(
        begin(make_study(**{**FIELDS, "train": {**FIELDS["train"], "micro_batch": 40}}))
    )


def test_images_are_altered_anew_for_each_batch_and_epoch_and_never_for_validation() -> None:
    dataset = {"name": "digits", "augment": {"crop": 2, "flip": True}}
    training, seen = begin(make_study(dataset=dataset, train={"epochs": 2, "batch": 96})), Seen()
    training.network.register_forward_pre_hook(seen.images)
    before = [tensor.clone() for tensor in (make_data().train.images, training._data.validation.images)]
    finish(training)
    first, second = (sorted(map(tuple, batch.flatten(1).tolist())) for batch in seen.batches)
    plain = sorted(map(tuple, before[0].flatten(1).tolist()))
    assert first != second
    assert plain not in (first, second)
    assert torch.equal(training._data.train.images, before[0])
    assert torch.equal(training._data.validation.images, before[1])


def test_the_images_pass_in_parts() -> None:
    training, seen = begin(make_study(train={"epochs": 1, "batch": 40, "micro_batch": 16})), Seen()
    training.network.register_forward_pre_hook(seen.images)
    finish(training)
    assert [len(batch) for batch in seen.batches] == [14, 13, 13] * 2 + [16]


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
