"""Evaluate a network and record its activity: accuracy and spike counts from one pass, in flat memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from objectives.architecture import Layer
from objectives.encoding import Encoding, encode, generator
from objectives.errors import TrainingError
from objectives.loss import class_spikes
from objectives.network import LayerRecord, SpikingNetwork

_CHUNK = 512
"""Most images evaluated at once; large networks take fewer, see `SpikingNetwork.at_once`."""


@dataclass(frozen=True)
class Activity:
    """What a network did on some images.

    Attributes:
        counts: For each weighted layer the spikes at its input, `(images, T, channels)` int32, pooled maps counted
            after pooling; no channels for a real-valued image, one where a fully connected layer feeds another.
        correct: `(images,)` bool.
        inputs: For each weighted layer the nonzero inputs of each place, summed over images and steps, int64.
        fired: Spikes of each weighted layer's neurons, over images and steps.
        places: Neurons x images x steps of each weighted layer.
        names: Names of the weighted layers.
    """

    counts: list[NDArray[np.int32]]
    correct: NDArray[np.bool_]
    inputs: list[NDArray[np.int64]]
    fired: list[int]
    places: list[int]
    names: list[str]

    @property
    def accuracy(self) -> float:
        """Share of correct images."""
        return float(self.correct.mean())

    @property
    def standard_error(self) -> float:
        """Binomial standard error of the accuracy."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / len(self.correct))

    @property
    def firing_rates(self) -> dict[str, float]:
        """Spikes per neuron and step of each weighted layer."""
        return {name: fired / places for name, fired, places in zip(self.names, self.fired, self.places, strict=True)}

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron and step over all layers."""
        return sum(self.fired) / sum(self.places)

    @property
    def silent_layers(self) -> list[str]:
        """Layers that never fired."""
        return [name for name, fired in zip(self.names, self.fired, strict=True) if fired == 0]


def record(
    network: SpikingNetwork, images: Tensor, labels: Tensor, *, encoding: Encoding, seed: int, chunk: int = _CHUNK
) -> Activity:
    """Evaluate images `(N, C, H, W)` with labels `(N,)` and record the activity.

    With `encoding="events"` images are event frames `(N, T, C, H, W)` of 0 and 1.

    A network answers with the class that has most output spikes over all steps and its population; ties go to
    the lower class. Random input coding depends on `seed` alone: a repeat gives the same spikes.

    Raises:
        TrainingError: There are no images, or event frames that do not fit.
    """
    if len(images) == 0:
        raise TrainingError("there are no images to evaluate; check dataset.limit and dataset.validation")
    random = generator(seed, "evaluation")
    correct: list[NDArray[np.bool_]] = []
    tallies = [_Tally(layer) for layer in network.plan]
    device = next(network.parameters()).device
    with torch.no_grad():
        at_once = chunk if device.type != "cpu" else min(chunk, network.at_once)
        for start in range(0, len(images), at_once):
            signal = encode(images[start : start + at_once].to(device), encoding, network.time_steps, random)
            spikes, records = network.forward_recorded(signal)
            correct.append(predicted(spikes, network.classes) == labels[start : start + at_once].numpy())
            for tally, one in zip(tallies, records, strict=True):
                tally.add(one)
    return _joined(tallies, np.concatenate(correct))


def predicted(spikes: Tensor, classes: int) -> NDArray[np.int64]:
    """Class `(B,)` with most spikes of `(T, B, outputs)`, summed over steps and population; ties to the lower one."""
    votes = class_spikes(spikes.sum(0), classes)
    return np.asarray(np.argmax(votes.cpu().numpy(), axis=1), np.int64)


class _Tally:
    """Records of one layer, added up chunk by chunk; only the counts grow with the images."""

    def __init__(self, layer: Layer) -> None:
        self.name = layer.name
        self.counts: list[NDArray[np.int32]] = []
        self.inputs = np.zeros(layer.in_shape, np.int64)
        self.fired = 0
        self.places = 0

    def add(self, one: LayerRecord) -> None:
        self.counts.append(one.counts.cpu().numpy())
        self.inputs += one.inputs.cpu().numpy()
        self.fired += one.fired
        self.places += one.places


def _joined(tallies: list[_Tally], correct: NDArray[np.bool_]) -> Activity:
    return Activity(
        counts=[np.concatenate(tally.counts) for tally in tallies],
        correct=correct,
        inputs=[tally.inputs for tally in tallies],
        fired=[tally.fired for tally in tallies],
        places=[tally.places for tally in tallies],
        names=[tally.name for tally in tallies],
    )
