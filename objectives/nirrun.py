"""Run a NIR graph by what it says alone: forward Euler steps, loops broken by delays, float32."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import nir
import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor

from objectives.errors import TrainingError

Change = Callable[[Tensor], Tensor]
"""What a node without memory makes of a batch `(B, ...)`."""


class NirError(TrainingError):
    """A graph holds what we do not run: another node, or a loop that no delay breaks."""


def run_graph(graph: nir.NIRGraph, signal: Tensor, steps: int) -> Tensor:
    """Output `(T, B, outputs)` of a graph, by what its nodes say: forward Euler steps of the `dt` of its metadata.

    Nodes add up what arrives. A `Delay` of n dt gives what it got n steps ago, 0 before the first.

    Args:
        graph: Of the nodes that `build_graph` writes.
        signal: `(T, B, ...)`; or `(1, B, ...)` where it is the same at each step.
        steps: T.

    Raises:
        NirError: There is another node, or a loop without a delay.
    """
    return _Machine(graph).run(signal, steps)


class _Machine:
    """A graph in stages: a node without memory runs over all steps at once, neurons and loops step by step."""

    def __init__(self, graph: nir.NIRGraph) -> None:
        dt = float(graph.metadata["dt"])
        self._sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for source, target in graph.edges:
            self._sources[target].append(source)
        self._stages = _stages(self._sources)
        self._run = {name: _runner(name, node, dt) for name, node in graph.nodes.items()}
        self._output = next(name for name, node in graph.nodes.items() if isinstance(node, nir.Output))

    def run(self, signal: Tensor, steps: int) -> Tensor:
        """The output's values in all steps."""
        values: dict[str, Tensor] = {}
        for stage in self._stages:
            (name, *others) = stage
            run = self._run[name]
            if others or isinstance(run, (_Membrane, _Delay)):
                self._step_by_step(stage, values, steps)
            else:
                arrived = _total([values[source] for source in self._sources[name]] or [signal])
                flat = run(arrived.flatten(0, 1))
                values[name] = flat.view(*arrived.shape[:2], *flat.shape[1:])
        return values[self._output].expand(steps, *values[self._output].shape[1:])

    def _step_by_step(self, stage: frozenset[str], values: dict[str, Tensor], steps: int) -> None:
        """Add the values of a stage's nodes that others read."""
        read = {s for name, some in self._sources.items() if name not in stage for s in some if s in stage}
        kept: dict[str, list[Tensor]] = {name: [] for name in read}
        delays = {name: run for name in stage if isinstance(run := self._run[name], _Delay)}
        order = _order({name: self._sources[name] for name in stage}, delays)
        for step in range(steps):
            now = {name: delay.read() for name, delay in delays.items()}
            for name in [*order, *delays]:
                sources = self._sources[name]
                arrived = [now[s] if s in stage else values[s][min(step, len(values[s]) - 1)] for s in sources]
                run = self._run[name]
                if isinstance(run, _Delay):
                    run.write(_total(arrived))
                else:
                    now[name] = run(arrived) if isinstance(run, _Membrane) else run(_total(arrived))
            for name, frames in kept.items():
                frames.append(now[name])
        for name, frames in kept.items():
            values[name] = torch.stack([frame.expand_as(frames[-1]) for frame in frames])


def _stages(sources: Mapping[str, Sequence[str]]) -> list[frozenset[str]]:
    """The nodes in the order in which they can run; those of a loop together."""
    before = {name: _before(name, sources) for name in sources}
    stage = {name: frozenset({name, *(m for m in some if name in before[m])}) for name, some in before.items()}
    needed: dict[frozenset[str], set[frozenset[str]]] = {one: set() for one in stage.values()}
    for name, some in sources.items():
        needed[stage[name]] |= {stage[source] for source in some} - {stage[name]}
    return list(TopologicalSorter(needed).static_order())


def _before(name: str, sources: Mapping[str, Sequence[str]]) -> set[str]:
    """All nodes that something flows from to this one; itself where it is on a loop."""
    found: set[str] = set()
    left = list(sources[name])
    while left:
        if (one := left.pop()) not in found:
            found.add(one)
            left += sources[one]
    return found


def _order(sources: Mapping[str, Sequence[str]], delays: Collection[str]) -> list[str]:
    """The nodes of a loop but its delays, each behind all that it reads in the same step."""
    now = {name: {s for s in some if s in sources and s not in delays} for name, some in sources.items()}
    try:
        return [name for name in TopologicalSorter(now).static_order() if name not in delays]
    except CycleError as error:
        raise NirError(f"the graph has a loop without a delay: {' -> '.join(error.args[1])}") from error


def _runner(name: str, node: Any, dt: float) -> Change | _Membrane | _Delay:
    if isinstance(node, (nir.LI, nir.I, nir.LIF, nir.IF)):
        return _Membrane(node, dt)
    if isinstance(node, nir.Delay):
        return _Delay(node, dt)
    make = _STATELESS.get(type(node))
    if make is None:
        raise NirError(f"{name}: a node {type(node).__name__} is none of ours; expected a graph that spikefront wrote")
    return make(node)


class _Membrane:
    """`tau v' = v_leak - v + r I` (without tau: `v' = r I`) in a forward Euler step; spikes above a threshold."""

    def __init__(self, node: Any, dt: float) -> None:
        leak = dt / node.tau if hasattr(node, "tau") else np.zeros_like(node.r)
        self._decay, self._gain = _float32(1 - leak), _float32(leak * node.r if leak.any() else dt * node.r)
        self._drift = _float32(leak * node.v_leak) if hasattr(node, "v_leak") else None
        self._threshold = _float32(node.v_threshold) if hasattr(node, "v_threshold") else None
        self._reset = _float32(node.v_reset) if hasattr(node, "v_reset") else None
        self._level = torch.zeros(())

    def __call__(self, arrived: Sequence[Tensor]) -> Tensor:
        """The membrane; or the spikes, where it has a threshold."""
        level = self._level * self._decay
        for current in arrived:
            level = level + self._gain * current
        if self._drift is not None:
            level = level + self._drift
        if self._threshold is None or self._reset is None:
            self._level = level
            return level
        spikes = level > self._threshold
        self._level = torch.where(spikes, self._reset, level)
        return spikes.float()


class _Delay:
    """What arrived some steps ago; 0 before."""

    def __init__(self, node: nir.Delay, dt: float) -> None:
        steps = {round(delay / dt) for delay in node.delay.ravel().tolist()}
        if len(steps) != 1 or min(steps) < 1:
            raise NirError(f"a delay of {sorted(steps)} steps: expected one whole number of at least 1 for all places")
        self._kept = deque([torch.zeros(())] * steps.pop())

    def read(self) -> Tensor:
        return self._kept.popleft()

    def write(self, value: Tensor) -> None:
        self._kept.append(value)


def _convolution(node: nir.Conv2d) -> Change:
    weight = _float32(node.weight).clone(memory_format=torch.channels_last)
    bias, groups = _float32(node.bias), int(node.groups)
    stride, padding, dilation = (tuple(map(int, sizes)) for sizes in (node.stride, node.padding, node.dilation))

    def run(maps: Tensor) -> Tensor:
        maps = maps.contiguous(memory_format=torch.channels_last)
        return nnf.conv2d(maps, weight, bias, stride, padding, dilation, groups)

    return run


def _affine(node: nir.Affine) -> Change:
    weight, bias = _float32(node.weight), _float32(node.bias)
    return lambda values: nnf.linear(values, weight, bias)


def _pool(node: Any) -> Change:
    window, stride = tuple(map(int, node.kernel_size)), tuple(map(int, node.stride))
    divisor = 1 if isinstance(node, nir.SumPool2d) else None
    return lambda maps: nnf.avg_pool2d(maps, window, stride, divisor_override=divisor)


def _flatten(node: nir.Flatten) -> Change:
    return lambda maps: maps.flatten(1 + int(node.start_dim))


def _threshold(node: nir.Threshold) -> Change:
    level = _float32(node.threshold)
    return lambda values: (values > level).float()


def _scale(node: nir.Scale) -> Change:
    factor = _float32(node.scale)
    return lambda values: values * factor


_STATELESS: dict[type, Callable[[Any], Change]] = {
    nir.Input: lambda node: lambda values: values,
    nir.Output: lambda node: lambda values: values,
    nir.Conv2d: _convolution,
    nir.Affine: _affine,
    nir.AvgPool2d: _pool,
    nir.SumPool2d: _pool,
    nir.Flatten: _flatten,
    nir.Threshold: _threshold,
    nir.Scale: _scale,
}


def _total(arrived: Sequence[Tensor]) -> Tensor:
    return sum(arrived[1:], arrived[0])


def _float32(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
