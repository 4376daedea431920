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
from objectives.activity import Activity, record
from objectives.current import watched_currents
from objectives.data import Dataset
from objectives.data.augment import augmented
from objectives.dropout import dropped
from objectives.encoding import encode, generator
from objectives.errors import CheckpointError, TrainingError
from objectives.loss import loss_function, reads_membranes
from objectives.microbatch import largest_part, part_sizes
from objectives.network import build_network
from objectives.optimizer import learning_rate, optimizer_of
from objectives.quantise import FloatTwins
from objectives.regulariser import rate_penalty
from objectives.spec import Study

_INDIFFERENT = ("accelerator", "search", "objectives", "constraints", "baseline")
"""The frozen fields of a study that training does not read."""

_ADVICE = "lower train.lr, the surrogate's slope or alpha, or train.rate_penalty"


@dataclass(frozen=True)
class Epoch:
    """One finished epoch.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean training loss over the images, the firing rate's penalty included.
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
        self._judged = [self.network.plan[-1].name] if reads_membranes(study.loss) else []
        self._trained = FloatTwins(self.network, study.weight_bits)
        self._optimizer = optimizer_of(study.train, self._trained.parameters.values())
        self._at_once = largest_part(study, self.network.plan)
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
            TrainingError: The loss of a batch, or at the end of the epoch weights or currents are not finite.
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
        tensors |= {f"trained.{name}": tensor for name, tensor in self._trained.state().items()}
        for index, parameter in enumerate(self._trained.parameters.values()):
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
        self.network.load_state_dict(_under("network.", tensors))
        self._trained.restore(_under("trained.", tensors))
        for index, parameter in enumerate(self._trained.parameters.values()):
            own = _under(f"optimizer.{index}.", tensors)
            self._optimizer.state[parameter].update({name: _like(parameter, tensor) for name, tensor in own.items()})
        self.epoch, self._batch, self._loss_sum = state["epoch"], state["batch"], state["loss_sum"]
        self._epoch_seconds, self._seconds = state["epoch_seconds"], state["seconds"]

    def weights(self) -> bytes:
        """The network's weights alone as safetensors, named `conv1.weight`, `conv1.bias`, ...

        They are those that it computes with: quantised where the study asks for fewer than 32 bits.
        """
        return safetensors.torch.save({name: tensor.contiguous() for name, tensor in self.network.state_dict().items()})

    def _step(self, order: Tensor) -> None:
        """One batch forward and back, part by part, and a step of the optimizer."""
        started = perf_counter()
        study, train = self._study, self._data.train
        chosen = order[self._batch * study.train.batch : (self._batch + 1) * study.train.batch]
        random = generator(self._seed, "train", self.epoch, self._batch)
        drops = generator(self._seed, "dropout", self.epoch, self._batch)
        self._set_rate()
        self._optimizer.zero_grad(set_to_none=True)
        losses = 0.0
        images = augmented(
            train.images[chosen], study.dataset, generator(self._seed, "augment", self.epoch, self._batch)
        )
        sizes = part_sizes(len(chosen), self._at_once)
        for part, labels in zip(torch.split(images, sizes), torch.split(train.labels[chosen], sizes), strict=True):
            loss = self._loss_of(encode(part, study.encoding, study.time_steps, random), labels, drops)
            (loss * (len(part) / len(chosen))).backward()  # type: ignore[no-untyped-call]  # untyped in torch
            losses += loss.item() * len(part)
        self._check_loss(losses)
        self._trained.gather()
        self._optimizer.step()
        self._trained.store()
        self._loss_sum += losses
        self._batch += 1
        self._epoch_seconds += perf_counter() - started

    def _loss_of(self, signal: Tensor, labels: Tensor, drops: torch.Generator) -> Tensor:
        """Loss of some images, mean over them, with the firing rate's penalty where there is one."""
        settings, currents = self._study.train, list[Tensor]()
        with (
            dropped(self.network, settings.dropout, len(labels), drops),
            watched_currents(self.network, self._judged, lambda name, current: currents.append(current)),
        ):
            spikes = self.network.forward_all(signal) if settings.rate_penalty else [self.network(signal)]
        output = spikes[-1]
        if currents:
            last = self.network.plan[-1]
            output = self.network.neuron.membranes(_every_step(currents[0], output), learned=self.network.learned(last))
        loss = self._loss(output, labels)
        return (
            loss + rate_penalty(spikes, settings.rate_penalty, settings.target_rate) if settings.rate_penalty else loss
        )

    def _check_loss(self, losses: float) -> None:
        if not math.isfinite(losses):
            raise TrainingError(
                f"epoch {self.epoch + 1}, batch {self._batch + 1}: the loss is not finite ({losses:g}); {_ADVICE}"
            )

    def _close_epoch(self) -> Epoch:
        self._check_weights()
        loss = self._loss_sum / len(self._data.train.labels)
        activity = self._validated()
        done = Epoch(self.epoch + 1, loss, activity.accuracy, self._epoch_seconds, activity.firing_rate)
        self.epoch, self._seconds = self.epoch + 1, self._seconds + self._epoch_seconds
        self._batch, self._loss_sum, self._epoch_seconds = 0, 0.0, 0.0
        return done

    def _check_weights(self) -> None:
        for name, parameter in self._trained.parameters.items():
            if not bool(parameter.isfinite().all()):
                raise TrainingError(f"epoch {self.epoch + 1}: {name} is not finite; {_ADVICE}")

    def _validated(self) -> Activity:
        """The activity on the validation set; spikes of NaN are silent, so the currents behind them are looked at."""
        valid, names = self._data.validation, [layer.name for layer in self.network.plan]

        def check(name: str, current: Tensor) -> None:
            if not bool(current.sum(dtype=torch.float64).isfinite()):
                raise TrainingError(f"epoch {self.epoch + 1}: the currents of {name} are not finite; {_ADVICE}")

        with watched_currents(self.network, names, check):
            return record(self.network, valid.images, valid.labels, encoding=self._study.encoding, seed=self._seed)

    def _order(self) -> Tensor:
        """The images' order in this epoch: a function of (seed, epoch)."""
        random = np.random.Generator(np.random.Philox(key=self._seed, counter=[0, 0, 0, self.epoch]))
        return torch.from_numpy(random.permutation(len(self._data.train.labels)))

    def _set_rate(self) -> None:
        """Learning rate of this iteration."""
        rate = learning_rate(self._study.train, self.epoch * self._batches + self._batch, self._batches)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _trial(self) -> str:
        """SHA-256 (hex) of all that decides the training: the settings it reads, and the seed."""
        settings = {name: value for name, value in self._study.frozen().items() if name not in _INDIFFERENT}
        return hashlib.sha256(json.dumps([settings, self._seed], sort_keys=True).encode()).hexdigest()


def _under(start: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name starts so, without that start."""
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _every_step(current: Tensor, spikes: Tensor) -> Tensor:
    """A layer's current for each step `(T, B, outputs)`, be it `(T * B, outputs)` or of a still image."""
    return current.expand_as(spikes) if len(current) == spikes.shape[1] else current.view_as(spikes)


def _like(parameter: Tensor, saved: Tensor) -> Tensor:
    """A copy of a saved tensor, in the memory order of its parameter where it has its shape."""
    return torch.empty_like(parameter).copy_(saved).detach() if saved.shape == parameter.shape else saved.clone()
