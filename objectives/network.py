"""The spiking network: snnTorch semantics, run layer by layer over all time steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from objectives import kernels
from objectives.architecture import Conv, Layer, Pool, check_network, layers
from objectives.encoding import generator, standardised
from objectives.microbatch import part_sizes
from objectives.neuron import Lapicque, Learnable, Learned, Lif, Neuron
from objectives.scan import Count, count_dense, is_compiled, map_spikes
from objectives.surrogate import (
    Atan,
    FastSigmoid,
    Sigmoid,
    SpikeRateEscape,
    StraightThrough,
    Surrogate,
    Triangular,
)

if TYPE_CHECKING:
    from objectives.data import DatasetInfo
    from objectives.spec import Study

_OWN = "_neuron"
"""Behind a layer's name: what its neurons learn."""
_FUSED = Pool("max", 2)
"""The pool that the kernels have."""


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


AT_ONCE_BYTES = 16 * 2**20
"""Most bytes of one layer's activity without gradients: larger tensors go back to the system when they are freed, and
their pages are mapped anew for each batch."""


class SpikingNetwork(nn.Module):
    """Weighted layers with bias, each followed by its neurons; pools before or after them.

    Input `(B, C, H, W)` is the same at each step (the first layer then runs once an image); `(T, B, C, H, W)`
    is a spike train. Output: spikes `(T, B, outputs)` float32. Weights start as `nn.Conv2d` and `nn.Linear` do.
    """

    def __init__(
        self,
        network: str,
        image: tuple[int, int, int],
        classes: int,
        *,
        neuron: Neuron,
        time_steps: int,
        pool: Literal["before_lif", "after_lif"] = "before_lif",
        learn: Sequence[Learnable] = (),
        normalise: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> None:
        """Build the network.

        Args:
            network: The network string.
            image: Channels, height and width of an image.
            classes: Classes.
            neuron: Of every layer.
            time_steps: Steps T of one image.
            pool: Where the pools stand.
            learn: What each layer learns for itself, from the neuron's number on: parameters `conv1_neuron.beta`, ...
            normalise: Mean and standard deviation of each channel, taken off images that are no spike trains.

        Raises:
            NetworkError: The string is malformed or does not fit image, classes or pool.
        """
        super().__init__()
        check_network(network, image, classes, pool=pool)
        self.plan = layers(network, image)
        self.classes, self.time_steps, self.neuron = classes, time_steps, neuron
        self.pool_first = pool == "before_lif"
        for layer in self.plan:
            self.add_module(layer.name, _weights(layer, is_first=layer is self.plan[0]))
        for layer in self.plan if learn else ():
            numbers = {name: nn.Parameter(torch.tensor(float(getattr(neuron, name)))) for name in learn}
            self.add_module(f"{layer.name}{_OWN}", nn.ParameterDict(numbers))
        self._learns = tuple(learn)
        self._normalise = normalise
        self.at_once = max(1, AT_ONCE_BYTES // _largest_bytes(self.plan, time_steps))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads lack it

    @property
    def outputs(self) -> int:
        """Neurons of the last layer."""
        return self.plan[-1].out_shape[0]

    def learned(self, layer: Layer) -> Learned:
        """The layer's own leak and threshold, where it learns them."""
        if not self._learns:
            return Learned()
        return Learned(**dict(self.get_submodule(f"{layer.name}{_OWN}").named_parameters()))

    def forward(self, images: Tensor) -> Tensor:
        """Output spikes `(T, B, outputs)`; without gradients on the CPU, `at_once` images at a time."""
        if torch.is_grad_enabled() or images.device.type != "cpu":
            return self._through(images)
        batch = images.dim() - 4
        parts = torch.split(images, part_sizes(images.shape[batch], self.at_once), batch)
        return torch.cat([self._through(part) for part in parts], 1) if len(parts) > 1 else self._through(images)

    def _through(self, images: Tensor) -> Tensor:
        signal = self._entering(images)
        for layer in self.plan:
            signal = self._run(layer, signal)[0]
        return signal

    def forward_recorded(self, images: Tensor) -> tuple[Tensor, list[LayerRecord]]:
        """Output spikes `(T, B, outputs)` and a record of each weighted layer."""
        signal, records = self._entering(images), []
        counts, inputs = self._received(signal)
        for layer in self.plan:
            signal, fired, count = self._run(layer, signal, is_counted=True)
            count = count or _counted(signal, fired)
            neurons = math.prod(layer.pooled_shape if self.pool_first else layer.out_shape)
            records.append(LayerRecord(counts, inputs, count.fired, neurons * self.time_steps * signal.shape[1]))
            counts, inputs = count.channels, count.places
        return signal, records

    def forward_all(self, images: Tensor) -> list[Tensor]:
        """Spikes `(T, B, ...)` of each layer's neurons, before any pool behind them; the last is the output."""
        signal, spikes = self._entering(images), []
        for layer in self.plan:
            signal, fired, _ = self._run(layer, signal, is_fused=self.pool_first)
            spikes.append(fired)
        return spikes

    def _entering(self, images: Tensor) -> Tensor:
        """What the first layer sees: images normalised where asked for; spike trains as they are."""
        if self._normalise is None or images.dim() != 4:
            return images
        return standardised(images, *self._normalise)

    def _run(
        self, layer: Layer, signal: Tensor, *, is_fused: bool = True, is_counted: bool = False
    ) -> tuple[Tensor, Tensor, Count | None]:
        """The layer's output and, unless a pool behind the neurons was fused, their spikes; both `(T, B, ...)`.

        The count is there where it was asked for and the kernels made it.
        """
        constant = self.time_steps if signal.dim() == 4 and len(layer.in_shape) == 3 else None
        flat = signal if constant else signal.flatten(0, 1)
        if not isinstance(layer.block, Conv):
            dense: Tensor = self.get_submodule(layer.name)(flat)
            spikes = self._scan(layer, dense, signal, constant)
            return spikes, spikes, count_dense(spikes) if is_counted and is_compiled(spikes) else None
        current: Tensor = self.get_submodule(layer.name)(flat.contiguous(memory_format=torch.channels_last))
        pool, is_first = layer.pool, self.pool_first
        if is_compiled(current) and is_fused and pool == _FUSED:
            place = kernels.POOL_FIRST if is_first else kernels.POOL_LAST
            spikes, count = self._map_scan(layer, current, constant, place, is_counted)
            return spikes, spikes, count
        if pool is not None and is_first:
            current, pool = _pool(pool, current), None
        if is_compiled(current):
            spikes, count = self._map_scan(layer, current, constant, kernels.NO_POOL, is_counted and pool is None)
        else:
            spikes, count = self._scan(layer, current, signal, constant), None
        output = spikes if pool is None else _by_step(_pool(pool, spikes.flatten(0, 1)), spikes)
        return output, spikes, count

    def _scan(self, layer: Layer, current: Tensor, signal: Tensor, constant: int | None) -> Tensor:
        steps = current if constant else _by_step(current, signal)
        return self.neuron.scan(steps, constant_steps=constant, learned=self.learned(layer))

    def _map_scan(
        self, layer: Layer, current: Tensor, constant: int | None, pool: int, is_counted: bool
    ) -> tuple[Tensor, Count | None]:
        images = len(current) if constant else len(current) // self.time_steps
        beta, threshold = self.learned(layer)
        return map_spikes(
            current, images, constant, self.neuron.constants, beta, threshold, pool=pool, is_counted=is_counted
        )

    def _received(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Counts and inputs of the first layer's record."""
        if images.dim() == 4:
            counts = images.new_zeros((len(images), self.time_steps, 0), dtype=torch.int32)
            return counts, images.bool().sum(0) * self.time_steps
        counts = images.flatten(3).sum(3).transpose(0, 1).to(torch.int32)
        return counts, images.bool().sum((0, 1))


def _largest_bytes(plan: Sequence[Layer], time_steps: int) -> int:
    """Activity of one image in the layer that has most [B], over all steps, as float32; the first behind its pool."""
    first, *later = plan
    values = [math.prod(first.pooled_shape), *(math.prod(layer.out_shape) for layer in later)]
    return 4 * time_steps * max(values)


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
            learn=study.learn,
            normalise=(info.mean, info.std) if study.dataset.normalise == "standard" else None,
        )


def neuron_of(study: Study) -> Neuron:
    """The neuron of one trial, before it learns."""
    if study.neuron == "lapicque":
        return Lapicque.of_beta(study.beta, study.threshold, surrogate_of(study), reset=study.reset)
    return Lif(study.beta, study.threshold, surrogate_of(study), study.reset)


def surrogate_of(study: Study) -> Surrogate:
    """The surrogate gradient of one trial with its knobs."""
    match study.surrogate:
        case "fast_sigmoid":
            return FastSigmoid(study.slope)
        case "atan":
            return Atan(study.alpha)
        case "triangular":
            return Triangular()
        case "straight_through":
            return StraightThrough()
        case "sigmoid":
            return Sigmoid(study.slope)
        case "spike_rate_escape":
            return SpikeRateEscape(study.slope, study.escape)


class FlatLinear(nn.Linear):
    """A fully connected layer; maps `(N, C, H, W)` are flattened first."""

    def forward(self, values: Tensor) -> Tensor:
        """Currents `(N, neurons)`."""
        return super().forward(values.flatten(1))


class MapLinear(nn.Linear):
    """A fully connected layer behind the maps of another one, which lie in memory with their channels innermost.

    It reads them as they lie and reorders its weights instead: these are fewer than what all steps of all images hold.
    """

    def __init__(self, maps: Sequence[int], neurons: int) -> None:
        super().__init__(math.prod(maps), neurons)
        self._maps = tuple(maps)

    def forward(self, maps: Tensor) -> Tensor:
        """Currents `(N, neurons)` of maps `(N, C, H, W)`."""
        weight = self.weight.reshape(-1, *self._maps).permute(0, 2, 3, 1).flatten(1)
        return nnf.linear(maps.permute(0, 2, 3, 1).flatten(1), weight, self.bias)


def _weights(layer: Layer, *, is_first: bool) -> nn.Module:
    if isinstance(layer.block, Conv):
        return nn.Conv2d(layer.in_shape[0], layer.block.maps, layer.block.kernel, padding=layer.block.padding)
    if is_first or len(layer.in_shape) == 1:
        return FlatLinear(math.prod(layer.in_shape), layer.block.neurons)
    return MapLinear(layer.in_shape, layer.block.neurons)


def _pool(pool: Pool, maps: Tensor) -> Tensor:
    return nnf.max_pool2d(maps, pool.size) if pool.kind == "max" else nnf.avg_pool2d(maps, pool.size)


def _counted(output: Tensor, fired: Tensor) -> Count:
    """Count of a layer's output `(T, B, ...)` and of its neurons' spikes, which are the same without a pool behind."""
    channels = output.flatten(3).sum(3) if output.dim() == 5 else output.sum(2, keepdim=True)
    places = output.sum((0, 1)).to(torch.int64)
    total = places.sum() if fired is output else fired.sum(dtype=torch.float64)
    return Count(channels.transpose(0, 1).to(torch.int32), places, int(total))


def _by_step(flat: Tensor, like: Tensor) -> Tensor:
    """`(T * B, ...)` parted into the `(T, B, ...)` of `like`."""
    return flat.view(*like.shape[:2], *flat.shape[1:])
