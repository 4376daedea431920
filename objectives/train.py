"""Training of one trial, pulled epoch by epoch: stopped anywhere and continued elsewhere, it ends bit-equal."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from objectives import checkpoint
from objectives.activity import record
from objectives.data import Dataset
from objectives.encoding import encode, generator
from objectives.errors import CheckpointError, TrainingError
from objectives.loss import loss_function
from objectives.network import SpikingNetwork, build_network
from objectives.spec import Study

_MOMENTUM = 0.9
"""Momentum of the optimizer `sgd`."""

_DECISIVE = (
    "dataset", "network", "pool", "encoding", "time_steps", "neuron", "surrogate", "slope", "alpha", "beta",
    "threshold", "loss", "train",
)  # fmt: skip
"""The fields of a study that training reads."""


@dataclass(frozen=True)
class Epoch:
    """One finished epoch.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean training loss over the images.
        accuracy: On the validation set, after the epoch.
        seconds: Spent training (without validation).
        firing_rate: Spikes per neuron and step on the validation set.
    """

    epoch: int
    loss: float
    accuracy: float
    seconds: float
    firing_rate: float


class Training:
    """One trial's training on the CPU: everything random is a function of (seed, epoch, batch).

    Attributes:
        network: The network as trained so far.
        epoch: Finished epochs.
        epochs: Epochs asked for.
    """

    def __init__(self, study: Study, seed: int, data: Dataset) -> None:
        self.network = build_network(study, data.info, seed)
        self.epoch, self.epochs = 0, study.train.epochs
        self._study, self._seed, self._data = study, seed, data
        self._loss = loss_function(study.loss, self.network.outputs, data.info.classes)
        self._optimizer = _optimizer(study, self.network)
        self._batches = math.ceil(len(data.train.labels) / study.train.batch)
        self._batch, self._loss_sum = 0, 0.0
        self._epoch_seconds, self._seconds = 0.0, 0.0

    @property
    def finished(self) -> bool:
        """All epochs are done, or an epoch ended after `max_minutes` of training."""
        limit = self._study.train.max_minutes
        out_of_time = limit is not None and self._batch == 0 and self._seconds >= 60 * limit
        return self.epoch >= self.epochs or out_of_time

    def run_epoch(self, stop: Callable[[], bool]) -> Epoch | None:
        """Train to the end of the epoch and validate.

        Args:
            stop: Asked after every batch.

        Returns:
            The epoch; or None where `stop` said so. The position is kept: call again, or save `state`.

        Raises:
            TrainingError: Loss or weights are not finite at the end of the epoch.
        """
        order = self._order()
        while self._batch < self._batches:
            self._step(order)
            if stop():
                return None
        return self._close_epoch()

    def state(self) -> bytes:
        """Everything needed to continue in another process, sealed."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, parameter in enumerate(self.network.parameters()):
            for name, tensor in self._optimizer.state[parameter].items():
                tensors[f"optimizer.{index}.{name}"] = tensor
        position = {"epoch": self.epoch, "batch": self._batch, "loss_sum": self._loss_sum}
        clock = {"epoch_seconds": self._epoch_seconds, "seconds": self._seconds}
        return checkpoint.dump(tensors, {"trial": self._trial(), **position, **clock})

    def restore(self, data: bytes) -> None:
        """Continue where `state` was taken.

        Raises:
            CheckpointError: Torn, altered, or of other settings or another seed; nothing is changed then.
        """
        tensors, state = checkpoint.load(data)
        if state.get("trial") != self._trial():
            raise CheckpointError("the checkpoint belongs to other settings or another seed; start the trial anew")
        self.network.load_state_dict(
            {name.removeprefix("network."): tensor for name, tensor in tensors.items() if name.startswith("network.")}
        )
        for index, parameter in enumerate(self.network.parameters()):
            start = f"optimizer.{index}."
            own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
            self._optimizer.state[parameter].update({name: _like(parameter, tensor) for name, tensor in own.items()})
        self.epoch, self._batch, self._loss_sum = state["epoch"], state["batch"], state["loss_sum"]
        self._epoch_seconds, self._seconds = state["epoch_seconds"], state["seconds"]

    def weights(self) -> bytes:
        """The network's weights alone as safetensors, named `conv1.weight`, `conv1.bias`, ..."""
        return safetensors.torch.save({name: tensor.contiguous() for name, tensor in self.network.state_dict().items()})

    def _step(self, order: Tensor) -> None:
        """One batch forward, back, and a step of the optimizer."""
        started = perf_counter()
        study, train = self._study, self._data.train
        chosen = order[self._batch * study.train.batch : (self._batch + 1) * study.train.batch]
        images = encode(
            train.images[chosen],
            study.encoding,
            study.time_steps,
            generator(self._seed, "train", self.epoch, self._batch),
        )
        self._set_rate()
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self.network(images), train.labels[chosen])
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        self._optimizer.step()
        self._loss_sum += loss.item() * len(chosen)
        self._batch += 1
        self._epoch_seconds += perf_counter() - started

    def _close_epoch(self) -> Epoch:
        loss = self._loss_sum / len(self._data.train.labels)
        if not math.isfinite(loss) or not all(
            bool(parameter.isfinite().all()) for parameter in self.network.parameters()
        ):
            raise TrainingError(
                f"epoch {self.epoch + 1}: loss ({loss:g}) or weights are not finite; "
                f"lower train.lr or the surrogate's slope or alpha"
            )
        valid = self._data.validation
        activity = record(self.network, valid.images, valid.labels, encoding=self._study.encoding, seed=self._seed)
        done = Epoch(self.epoch + 1, loss, activity.accuracy, self._epoch_seconds, activity.firing_rate)
        self.epoch, self._seconds = self.epoch + 1, self._seconds + self._epoch_seconds
        self._batch, self._loss_sum, self._epoch_seconds = 0, 0.0, 0.0
        return done

    def _order(self) -> Tensor:
        """The images' order in this epoch: a function of (seed, epoch)."""
        random = np.random.Generator(np.random.Philox(key=self._seed, counter=[0, 0, 0, self.epoch]))
        return torch.from_numpy(random.permutation(len(self._data.train.labels)))

    def _set_rate(self) -> None:
        """Learning rate of this iteration: constant, or half a cosine from lr to 0 over all iterations."""
        rate = self._study.train.lr
        if self._study.train.schedule == "cosine":
            done = (self.epoch * self._batches + self._batch) / (self.epochs * self._batches)
            rate *= (1 + math.cos(math.pi * done)) / 2
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _trial(self) -> str:
        """SHA-256 (hex) of all that decides the training: the settings it reads, and the seed."""
        settings = self._study.model_dump(mode="json", include=set(_DECISIVE))
        return hashlib.sha256(json.dumps([settings, self._seed], sort_keys=True).encode()).hexdigest()


def _optimizer(study: Study, network: SpikingNetwork) -> torch.optim.Optimizer:
    if study.train.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=study.train.lr, fused=True)
    return torch.optim.SGD(network.parameters(), lr=study.train.lr, momentum=_MOMENTUM, fused=True)


def _like(parameter: Tensor, saved: Tensor) -> Tensor:
    """A copy of a saved tensor, in the memory order of its parameter where it has its shape."""
    return torch.empty_like(parameter).copy_(saved).detach() if saved.shape == parameter.shape else saved.clone()
