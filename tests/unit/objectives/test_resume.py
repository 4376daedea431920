"""Stopped anywhere and resumed in a new process, a training ends bit-equal; nothing random depends on what ran before.

`test_train.py` holds what a checkpoint refuses; here is what an accepted one promises.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np
import pytest
import torch
from torch import Tensor

from objectives.activity import record
from objectives.errors import TrainingError
from objectives.spec import LossName
from objectives.train import Training
from service.client import Client
from service.worker import Place, Worker
from tests.support.trainings import (
    BATCHES,
    CASES,
    EPOCHS,
    Outcome,
    begin,
    finish,
    never,
    resume_elsewhere,
    scramble,
    states,
)
from tests.unit.objectives.factory import make_data, make_images, make_labels, make_network, make_study

POINTS = [f"{epoch}.{batch}" for epoch in range(EPOCHS) for batch in range(BATCHES + 1)] + [f"{EPOCHS}.0"]
"""Every place at which a training can stop: `EPOCH.BATCH` finished ones."""

EXPLODED = r"^epoch 1\b.*not finite.*; lower train\.lr"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Outcomes by `CASE@EPOCH.BATCH`, all resumed in one new process from files."""
    folder = tmp_path_factory.mktemp("states")
    for case in CASES:
        for point, state in states(case).items():
            (folder / f"{case}@{point}").write_bytes(state)
    return resume_elsewhere(folder)


@pytest.mark.parametrize("case", CASES)
def test_resumed_in_a_new_process_it_ends_bit_equal_wherever_it_stopped(case: str, resumed: dict[str, Outcome]) -> None:
    whole = finish(begin(case), case)
    assert sorted(name for name in resumed if name.startswith(f"{case}@")) == [f"{case}@{point}" for point in POINTS]
    for point in POINTS:
        rest = resumed[f"{case}@{point}"]
        assert rest["weights"] == whole["weights"], point
        assert rest["epochs"] == whole["epochs"][int(point[0]) :], point
        assert rest["score"] == whole["score"], point


@pytest.mark.parametrize("case", CASES)
def test_what_ran_before_and_between_does_not_matter(case: str) -> None:
    seeds = iter(range(1_000))

    def disturb() -> bool:
        scramble(next(seeds))
        return True

    scramble(4711)
    assert finish(begin(case), case, disturb) == finish(begin(case), case)


@pytest.mark.parametrize("case", CASES)
def test_training_draws_nothing_from_the_global_random_states(case: str) -> None:
    scramble(7)
    before = _global_states()
    finish(begin(case), case)
    assert _global_states() == before


def _global_states() -> list[Any]:
    name, keys, *rest = np.random.get_state(legacy=True)  # the global state is what is meant
    return [torch.get_rng_state().tolist(), name, np.asarray(keys).tolist(), rest, random.getstate()]


def orders(seed: int = 11, start: bytes | None = None, **fields: Any) -> list[list[int]]:
    """Numbers of the images in the order in which they came, for each epoch."""
    data = make_data()
    numbered = (torch.arange(96.0) / 96).reshape(96, 1, 1, 1).expand(96, 1, 8, 8)
    training = Training(make_study(**fields), seed, replace(data, train=replace(data.train, images=numbered)))
    if start is not None:
        training.restore(start)
    seen: list[Tensor] = []
    handle = training.network.register_forward_pre_hook(lambda module, images: seen.append(images[0][:, 0, 0, 0]))
    found = []
    while not training.finished:
        seen.clear()
        assert training.run_epoch(never) is not None
        found.append([round(96 * float(value)) for value in torch.cat(seen)])
    handle.remove()
    return found


def test_the_order_of_the_images_is_a_function_of_seed_and_epoch_alone() -> None:
    first = orders(train={"epochs": 3, "batch": 40})
    assert [sorted(order) for order in first] == [list(range(96))] * 3
    assert len({tuple(order) for order in first}) == 3
    scramble(5)
    assert orders(train={"epochs": 3, "batch": 40}) == first
    other: dict[str, Any] = {
        "network": "6C3-MP2-10",
        "accelerator": {"neural_cores": [2, 2]},
        "beta": 0.9,
        "surrogate": "fast_sigmoid",
    }
    assert orders(train={"epochs": 3, "batch": 7, "optimizer": "sgd", "lr": 0.1}, **other) == first
    assert all(mine != theirs for mine, theirs in zip(orders(12, train={"epochs": 3, "batch": 40}), first, strict=True))


def test_an_epoch_reached_by_resuming_has_the_order_it_has_anyway() -> None:
    fields: dict[str, Any] = {"train": {"epochs": 4, "batch": 40}}
    training = Training(make_study(**fields), 11, make_data())
    for _ in range(2):
        training.run_epoch(never)
    assert orders(start=training.state(), **fields) == orders(**fields)[2:]


def coded(seed: int = 11, **fields: Any) -> list[bytes]:
    """The input spikes of every batch where all images are the same grey, so that only the coding differs."""
    data = make_data()
    grey = replace(data, train=replace(data.train, images=torch.full_like(data.train.images, 0.5)))
    training = Training(make_study(encoding="rate", train={"epochs": 2, "batch": 48}, **fields), seed, grey)
    seen: list[bytes] = []
    training.network.register_forward_pre_hook(lambda module, images: seen.append(images[0].numpy().tobytes()))
    while not training.finished:
        training.run_epoch(never)
    return seen


def test_random_coding_is_a_function_of_seed_epoch_and_batch_alone() -> None:
    first = coded()
    assert len(set(first)) == 4
    scramble(5)
    assert coded() == first
    assert coded(beta=0.9, threshold=0.5) == first
    assert not set(coded(12)) & set(first)


def test_random_coding_of_an_evaluation_is_a_function_of_the_seed_alone() -> None:
    network, images, labels = make_network(), make_images(50), make_labels(50)

    def counted(seed: int, **options: Any) -> list[bytes]:
        return [c.tobytes() for c in record(network, images, labels, encoding="rate", seed=seed, **options).counts]

    first = counted(3)
    scramble(5)
    assert counted(3) == first
    assert counted(3, chunk=7) == first
    assert counted(4) != first


def test_a_worker_trains_on_one_thread(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    client = Client("http://server:1", "secret", transport=httpx.MockTransport(lambda request: httpx.Response(404)))
    Worker(client, Place("worker", tmp_path, tmp_path))
    client.close()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("loss", get_args(LossName))
def test_what_explodes_says_so_also_when_it_was_saved_and_resumed(loss: LossName, optimizer: str) -> None:
    study = make_study(loss=loss, train={"epochs": 2, "batch": 40, "lr": 1e300, "optimizer": optimizer})
    training, saved = Training(study, 11, make_data()), list[bytes]()

    def keep() -> bool:
        saved.append(training.state())
        return False

    with pytest.raises(TrainingError, match=EXPLODED):
        training.run_epoch(keep)
    assert saved
    for state in saved:
        resumed = Training(study, 11, make_data())
        resumed.restore(state)
        with pytest.raises(TrainingError, match=EXPLODED):
            resumed.run_epoch(never)
