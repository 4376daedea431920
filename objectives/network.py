"""The spiking network: snnTorch semantics, run layer by layer over all time steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from objectives.architecture import Conv, Layer, Pool, check_network, layers
from objectives.encoding import generator
from objectives.neuron import Lif
from objectives.surrogate import Atan, FastSigmoid

if TYPE_CHECKING:
    from objectives.data import DatasetInfo
    from objectives.spec import Study


@dataclass(frozen=True)
class LayerRecord:
    """What one weighted layer received and fired on one batch.

    Attributes:
        counts: Input spikes `(B, T, channels)` int32; no channels where the input is a real-valued image,
            one channel where it comes from a fully connected layer.
        inputs: Nonzero inputs of each place, summed over images and steps; `layer.in_shape`, int64.
        fired: Spikes of the layer's neurons, over all images and steps.
        places: Neurons x images x steps.
    """

    counts: Tensor
    inputs: Tensor
    fired: int
    places: int


class SpikingNetwork(nn.Module):
    """Weighted layers with bias, each followed by its LIF; pools before or after it.

    Input `(B, C, H, W)` is the same at each step (the first layer then runs once an image); `(T, B, C, H, W)`
    is a spike train. Output: spikes `(T, B, outputs)` float32. Weights start as `nn.Conv2d` and `nn.Linear` do.
    """

    def __init__(
        self,
        network: str,
        image: tuple[int, int, int],
        classes: int,
        *,
        neuron: Lif,
        time_steps: int,
        pool: Literal["before_lif", "after_lif"] = "before_lif",
    ) -> None:
        """Build the network.

        Raises:
            NetworkError: The string is malformed or does not fit image, classes or pool.
        """
        super().__init__()
        check_network(network, image, classes, pool=pool)
        self.plan = layers(network, image)
        self.classes, self.time_steps, self.neuron = classes, time_steps, neuron
        self.pool_first = pool == "before_lif"
        for layer in self.plan:
            self.add_module(layer.name, _weights(layer))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads lack it

    @property
    def outputs(self) -> int:
        """Neurons of the last layer."""
        return self.plan[-1].out_shape[0]

    def forward(self, images: Tensor) -> Tensor:
        """Output spikes `(T, B, outputs)`."""
        signal = images
        for layer in self.plan:
            signal, _ = self._run(layer, signal)
        return signal

    def forward_recorded(self, images: Tensor) -> tuple[Tensor, list[LayerRecord]]:
        """Output spikes `(T, B, outputs)` and a record of each weighted layer."""
        signal, records = images, []
        for layer in self.plan:
            received = signal
            signal, fired = self._run(layer, received)
            records.append(self._record(layer, received, fired))
        return signal, records

    def _run(self, layer: Layer, signal: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's output and, before any pool behind the neurons, its spikes; both `(T, B, ...)`."""
        is_constant = signal.dim() == 4 and len(layer.in_shape) == 3
        current = self._current(layer, signal if is_constant else signal.flatten(0, 1))
        if is_constant:
            spikes = self.neuron.scan(current, constant_steps=self.time_steps)
        else:
            spikes = self.neuron.scan(_by_step(current, signal))
        if layer.pool is None or self.pool_first:
            return spikes, spikes
        return _by_step(_pool(layer.pool, spikes.flatten(0, 1)), spikes), spikes

    def _current(self, layer: Layer, signal: Tensor) -> Tensor:
        """Input current of the layer's neurons for a plain batch of inputs."""
        module = self.get_submodule(layer.name)
        if isinstance(layer.block, Conv):
            current: Tensor = module(signal.contiguous(memory_format=torch.channels_last))
            return _pool(layer.pool, current) if layer.pool is not None and self.pool_first else current
        dense: Tensor = module(signal.flatten(1))
        return dense

    def _record(self, layer: Layer, received: Tensor, fired: Tensor) -> LayerRecord:
        is_constant = received.dim() == 4 and len(layer.in_shape) == 3
        inputs = (received != 0).flatten(0, -1 - len(layer.in_shape)).sum(0) * (self.time_steps if is_constant else 1)
        if is_constant:
            counts = received.new_zeros((len(received), self.time_steps, 0), dtype=torch.int32)
        else:
            of_frames = received.flatten(3).sum(3) if received.dim() == 5 else received.sum(2, keepdim=True)
            counts = of_frames.transpose(0, 1).to(torch.int32)
        return LayerRecord(counts, inputs, int(fired.sum(dtype=torch.float64)), fired.numel())


def build_network(study: Study, info: DatasetInfo, seed: int) -> SpikingNetwork:
    """The network of one trial with weights drawn by `seed` alone; the global random state is left as it was.

    Raises:
        NetworkError: As `SpikingNetwork`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(seed, "weights").initial_seed())
        return SpikingNetwork(
            study.network,
            info.image,
            info.classes,
            neuron=neuron_of(study),
            time_steps=study.time_steps,
            pool=study.pool,
        )


def neuron_of(study: Study) -> Lif:
    """The neuron of one trial."""
    surrogate = FastSigmoid(study.slope) if study.surrogate == "fast_sigmoid" else Atan(study.alpha)
    return Lif(study.beta, study.threshold, surrogate)


def _weights(layer: Layer) -> nn.Module:
    if isinstance(layer.block, Conv):
        return nn.Conv2d(layer.in_shape[0], layer.block.maps, layer.block.kernel, padding=layer.block.padding)
    inputs = 1
    for size in layer.in_shape:
        inputs *= size
    return nn.Linear(inputs, layer.block.neurons)


def _pool(pool: Pool, maps: Tensor) -> Tensor:
    return nnf.max_pool2d(maps, pool.size) if pool.kind == "max" else nnf.avg_pool2d(maps, pool.size)


def _by_step(flat: Tensor, like: Tensor) -> Tensor:
    """`(T * B, ...)` parted into the `(T, B, ...)` of `like`."""
    return flat.view(*like.shape[:2], *flat.shape[1:])
