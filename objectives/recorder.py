"""Record what a user's own snnTorch network does: its layers' shapes and the spikes between them, for the accelerator.

Hooks listen to the network while it runs its own arithmetic, one time step a call; nothing is built anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import snntorch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hwmodel.accelerator import Accelerator, LayerShape, build_accelerator
from objectives.encoding import is_binary
from objectives.errors import NetworkError, TrainingError

Role = Literal["weighted", "neuron", "keeps", "mixes", "foreign", "own"]

_NEURONS = (snntorch.Leaky, snntorch.Lapicque, snntorch.Synaptic, snntorch.Alpha)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)
_ROLES: dict[Role, tuple[type[nn.Module], ...]] = {
    "weighted": (nn.Conv2d, nn.Linear),
    "neuron": _NEURONS,
    "keeps": (nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.Flatten, nn.Unflatten, nn.Identity, *_DROPOUTS),
    "mixes": (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.BatchNorm1d, nn.BatchNorm2d),
}
"""What modules do to spikes; torch's others are `foreign` to the accelerator, and what is left is the user's `own`."""

_CAN = "the accelerator has convolutions, fully connected layers, pools and integrate-and-fire neurons"
_CAN_CONVOLVE = "the accelerator convolves with a square kernel, stride 1, dilation 1, groups 1 and zero padding"
_CONVOLUTION = {"stride": (1, 1), "dilation": (1, 1), "groups": 1, "padding_mode": "zeros"}


@dataclass(frozen=True, eq=False)
class Recording:
    """What a network did on some images: `simulate(recording.accelerator(cores), recording.counts)` reports on it.

    Attributes:
        shapes: Geometry of each weighted layer, in the order they run.
        counts: For each weighted layer the spikes at its input `(images, T, channels)` int32, pooled maps counted
            after pooling; no channels for a real-valued first input, one where a `Linear` feeds another.
        dense_first: Whether the first weighted layer sees real-valued pixels, which takes the dense core.
        time_steps: Steps T of one image.
        output_spikes: Spikes of the network's outputs `(images, outputs)` int32, summed over the steps; all zeros
            for a network that never fired.
    """

    shapes: tuple[LayerShape, ...]
    counts: list[NDArray[np.int32]]
    dense_first: bool
    time_steps: int
    output_spikes: NDArray[np.int32]

    def accelerator(self, neural_cores: Sequence[int], **settings: Any) -> Accelerator:
        """An accelerator for the recorded network; `settings` are those of `build_accelerator`.

        Raises:
            AcceleratorError: As `build_accelerator`; also for direct coding into a `Linear`.
            DeviceError: The device is unknown.
        """
        return build_accelerator(
            self.shapes, neural_cores, dense_first=self.dense_first, time_steps=self.time_steps, **settings
        )


def record_snntorch(
    network: nn.Module, inputs: Tensor, *, time_steps: int | None = None, chunk: int = 128
) -> Recording:
    """Run a snnTorch network on some images and record its activity.

    One call of the network is one time step, as in a `Sequential` of layers and neurons with `init_hidden=True`. It
    runs in evaluation mode and without gradients; its training flags and hidden states are put back, also after an
    error. Other modules of one's own must carry nothing from step to step. Batch norm between a layer and its
    neurons counts as folded into the layer's weights.

    Args:
        network: `Conv2d` and `Linear` layers in a chain, each followed by neurons of snnTorch. Neurons before the
            first layer are the input's encoder and no part of the accelerator.
        inputs: Images `(N, C, H, W)` or `(N, features)`, repeated at each step (direct coding); or spikes, 0 or 1,
            `(T, N, C, H, W)` or `(T, N, features)` (rate, latency or event coding).
        time_steps: Steps T of direct coding; of spikes the first axis says it.
        chunk: Images run at once; memory grows with them.

    Raises:
        NetworkError: The accelerator cannot run the network; the message names the layer or module.
        TrainingError: The inputs have no images, are of another shape, or are not spikes where they should be.
    """
    steps = _time_steps(inputs, time_steps)
    tally = _Tally(network, direct=_is_direct(inputs))
    like = next(network.parameters())
    with torch.no_grad(), _observed(network, tally):
        for start in range(0, inputs.shape[0 if _is_direct(inputs) else 1], chunk):
            tally.run(_signal(inputs, slice(start, start + chunk), steps, like))
    return tally.recording(steps)


def _is_direct(inputs: Tensor) -> bool:
    return inputs.dim() in (2, 4)


def _signal(inputs: Tensor, images: slice, steps: int, like: Tensor) -> Tensor:
    """Input `(T, B, ...)` of some images, with the device and type of the weights."""
    if _is_direct(inputs):
        constant = inputs[images].to(like)
        return constant.expand(steps, *constant.shape)
    spikes = inputs[:, images].to(like)
    if not is_binary(spikes):
        raise TrainingError(
            "inputs of shape (T, N, ...) must be spikes, exactly 0 or 1; for real-valued images give (N, C, H, W) or "
            "(N, features) and time_steps"
        )
    return spikes


def _time_steps(inputs: Tensor, time_steps: int | None) -> int:
    if inputs.dim() not in (2, 3, 4, 5):
        raise TrainingError(
            f"inputs have the shape {tuple(inputs.shape)}; expected images (N, C, H, W) or (N, features), or spikes "
            f"(T, N, C, H, W) or (T, N, features)"
        )
    if inputs.numel() == 0:
        raise TrainingError(f"inputs have the shape {tuple(inputs.shape)}: nothing to record; give at least one image")
    if not _is_direct(inputs):
        if time_steps not in (None, len(inputs)):
            raise TrainingError(f"inputs have {len(inputs)} steps, but time_steps is {time_steps}; leave it out")
        return len(inputs)
    if time_steps is None or time_steps < 1:
        raise TrainingError(
            f"time_steps is {time_steps}; images are repeated at each step, so give how many, 1 or more"
        )
    return time_steps


@dataclass(frozen=True, eq=False)
class _Part:
    """A module that is run as a whole, with its path in the network."""

    path: str
    module: nn.Module
    role: Role

    def __str__(self) -> str:
        return f"{type(self.module).__name__} (module {self.path})"


def _parts(network: nn.Module) -> dict[nn.Module, _Part]:
    """Parts of a network by module, a shared one once."""
    parts: dict[nn.Module, _Part] = {}
    for path, module in _outermost(network, ""):
        parts.setdefault(module, _Part(path, module, _role(module)))
    if not any(part.role == "weighted" for part in parts.values()):
        raise NetworkError("the network has no Conv2d and no Linear layer; give it at least one")
    return parts


def _outermost(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Modules with a known role and those without children, each with its path."""
    if _role(module) not in ("foreign", "own"):
        yield path, module
        return
    if isinstance(module, snntorch.SpikingNeuron):
        names = ", ".join(neuron.__name__ for neuron in _NEURONS)
        raise NetworkError(
            f"module {path} ({type(module).__name__}): the accelerator's neurons run step by step and have no weights "
            f"of their own; use one of {names}"
        )
    if any(True for _ in module.parameters(recurse=False)):
        raise NetworkError(
            f"module {path} ({type(module).__name__}) holds parameters; {_CAN}; use nn.Conv2d and nn.Linear"
        )
    if not any(True for _ in module.children()):
        yield path, module
    for name, child in module.named_children():
        yield from _outermost(child, f"{path}.{name}" if path else name)


def _role(module: nn.Module) -> Role:
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is None:
        return "foreign"  # it follows the batch, so it does not fold into weights
    for role, kinds in _ROLES.items():
        if isinstance(module, kinds):
            return role
    return "foreign" if type(module).__module__.startswith("torch.nn.") else "own"


@contextmanager
def _observed(network: nn.Module, tally: _Tally) -> Iterator[None]:
    """The network in evaluation mode with the tally's hooks; everything as it was afterwards."""
    training = {module: module.training for module in network.modules()}
    states = {neuron: dict(neuron.named_buffers(recurse=False)) for neuron in tally.neurons}
    handles = [module.register_forward_pre_hook(tally.enter, with_kwargs=True) for module in tally.parts]
    handles += [module.register_forward_hook(tally.leave, with_kwargs=True) for module in tally.parts]
    try:
        network.eval()
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, flag in training.items():
            module.training = flag
        for neuron, buffers in states.items():
            for name, buffer in buffers.items():
                setattr(neuron, name, buffer)


@dataclass(frozen=True, eq=False)
class _Layer:
    """One weighted layer: its geometry, and the spikes at its input."""

    shape: LayerShape
    is_dense: bool
    steps: list[Tensor] = field(default_factory=list)
    counts: list[NDArray[np.int32]] = field(default_factory=list)

    def close_chunk(self) -> None:
        """Join the steps' counts `(B, channels)` of one chunk to `(B, T, channels)`."""
        self.counts.append(torch.stack(self.steps, dim=1).to(torch.int32).cpu().numpy())
        self.steps.clear()


class _Tally:
    """What the hooks hear, added up chunk by chunk; only the counts grow with the images."""

    def __init__(self, network: nn.Module, *, direct: bool) -> None:
        self.parts = _parts(network)
        self.neurons: list[Any] = [module for module, part in self.parts.items() if part.role == "neuron"]
        self._network = network
        self._direct = direct
        self._layers: dict[nn.Module, _Layer] = {}  # in the order of the first step
        self._ran: list[nn.Module] = []  # weighted layers, in this step
        self._since: list[_Part] = []  # what ran since the last of them
        self._maps = (1, 1)  # channels and positions of the maps seen last; behind a Linear 1 and its neurons
        self._outputs: list[NDArray[np.int32]] = []

    def run(self, signal: Tensor) -> None:
        """Run one chunk `(T, B, ...)` from resting neurons."""
        for neuron in self.neurons:
            neuron.reset_mem()
        spikes = torch.stack([self._step(step) for step in signal])
        self._outputs.append(spikes.sum(0).to(torch.int32).cpu().numpy())
        for layer in self._layers.values():
            layer.close_chunk()

    def recording(self, steps: int) -> Recording:
        layers = list(self._layers.values())
        return Recording(
            shapes=tuple(layer.shape for layer in layers),
            counts=[np.concatenate(layer.counts) for layer in layers],
            dense_first=layers[0].is_dense,
            time_steps=steps,
            output_spikes=np.concatenate(self._outputs),
        )

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a part runs: refuse what the accelerator cannot do."""
        part = self.parts[module]
        received = _first(args, kwargs)
        if part.role == "foreign":
            raise NetworkError(f"{part}: {_CAN}; remove it")
        if part.role != "own" and not isinstance(received, Tensor):
            raise NetworkError(
                f"{part}: takes a tensor, got a {type(received).__name__}; give the neurons init_hidden=True, and "
                f"output=True at most to the last"
            )
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            self._check_layer(module, received)

    def leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """After a part ran: count."""
        result = _spikes_of(output)
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            self._count(module, _first(args, kwargs), result)
        else:
            self._since.append(self.parts[module])
        if isinstance(result, Tensor) and (isinstance(module, nn.Linear) or result.dim() == 4):
            self._maps = _maps(result)

    def _step(self, signal: Tensor) -> Tensor:
        """Output spikes `(B, outputs)` of one time step."""
        self._ran.clear()
        self._since.clear()
        self._maps = _maps(signal)
        spikes = _spikes_of(self._network(signal))
        self._check_order()
        if not isinstance(spikes, Tensor):
            raise NetworkError(f"the network returns a {type(spikes).__name__}; expected a tensor of its output spikes")
        self._check_spikes("the network's output", spikes)
        return spikes.reshape(len(signal), -1)

    def _count(self, module: nn.Conv2d | nn.Linear, received: Tensor, output: Tensor) -> None:
        channels, frame = self._maps_of(module, received)
        is_dense = self._is_dense()
        if module not in self._layers:
            self._layers[module] = _Layer(_shape(self._name(module), module, channels, frame, output), is_dense)
        maps = received.reshape(len(received), channels, frame)
        self._layers[module].steps.append(torch.count_nonzero(maps[:, : 0 if is_dense else channels], dim=2))
        self._ran.append(module)
        self._since.clear()

    def _maps_of(self, module: nn.Conv2d | nn.Linear, received: Tensor) -> tuple[int, int]:
        """Channels and positions of a weighted layer's input; flattened maps are taken apart again."""
        if isinstance(module, nn.Conv2d):
            return _maps(received)
        return self._maps[0], received.shape[1] // self._maps[0]

    def _is_dense(self) -> bool:
        """Whether the layer next to run sees the image itself."""
        return self._direct and not self._ran and not any(part.role == "neuron" for part in self._since)

    def _name(self, module: nn.Module) -> str:
        """Name of the layer next to run: conv1, conv2, fc1, ..."""
        kind = nn.Linear if isinstance(module, nn.Linear) else nn.Conv2d
        number = 1 + sum(isinstance(before, kind) for before in self._ran)
        return f"{'fc' if kind is nn.Linear else 'conv'}{number}"

    def _check_layer(self, module: nn.Conv2d | nn.Linear, received: Tensor) -> None:
        if module in self._ran:
            raise NetworkError(
                f"{self.parts[module]}: runs twice in a step; give each layer weights of its own, and let one call of "
                f"the network be one time step: the recorder loops over the steps"
            )
        label = f"{self._name(module)} (module {self.parts[module].path})"
        _check_input(label, module, received)
        if isinstance(module, nn.Conv2d):
            _check_convolution(label, module)
        channels, frame = self._maps_of(module, received)
        if channels != self._maps[0] or frame > self._maps[1] or received[0].numel() != channels * frame:
            raise NetworkError(
                f"{label}: takes {received[0].numel()} inputs, but the maps before it are {self._maps[0]} of "
                f"{self._maps[1]} positions; the accelerator runs a chain of layers, so remove branches and padding"
            )
        if not self._is_dense():
            self._check_spikes(f"{label}: its input", received)

    def _check_spikes(self, what: str, signal: Tensor) -> None:
        if not is_binary(signal):
            wrong = float(signal[(signal != 0) & (signal != 1)].flatten()[0])
            raise NetworkError(f"{what} holds {wrong:g}, and only 0 and 1 are spikes: {self._reason()}")

    def _reason(self) -> str:
        """Why a signal is no train of spikes."""
        neurons = [place for place, part in enumerate(self._since) if part.role == "neuron"]
        if not neurons:
            return "no spiking neuron runs before it; put one there, such as snntorch.Leaky(beta, init_hidden=True)"
        mixing = [str(part) for part in self._since[neurons[-1] :] if part.role in ("mixes", "own")]
        if mixing:
            return f"{', '.join(mixing)} behind the neurons makes numbers of spikes; put it before them"
        return f"{self._since[neurons[-1]]} or a function behind it makes numbers of spikes; use ungraded spikes alone"

    def _check_order(self) -> None:
        for module, part in self.parts.items():
            if part.role == "weighted" and module not in self._ran:
                raise NetworkError(f"{part}: did not run; call it in each step, or remove it from the network")
        if self._ran != list(self._layers):
            raise NetworkError("the layers run in another order than in the first step; the accelerator's is fixed")


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return next(iter((*args, *kwargs.values())), None)


def _spikes_of(output: Any) -> Any:
    """What a neuron gives besides its membrane: the first of a tuple."""
    return output[0] if isinstance(output, tuple) else output


def _shape(name: str, module: nn.Conv2d | nn.Linear, channels: int, frame: int, output: Tensor) -> LayerShape:
    if isinstance(module, nn.Linear):
        return LayerShape(name, "fc", channels, frame, module.out_features, out_frame=1, kernel=0)
    positions = output.shape[2] * output.shape[3]
    return LayerShape(name, "conv", channels, frame, module.out_channels, positions, module.kernel_size[0])


def _maps(signal: Tensor) -> tuple[int, int]:
    """Channels and positions of maps `(B, C, H, W)`; of features `(B, F)` 1 and F."""
    return (signal.shape[1], signal[0, 0].numel()) if signal.dim() == 4 else (1, signal[0].numel())


def _check_input(label: str, module: nn.Conv2d | nn.Linear, received: Tensor) -> None:
    if isinstance(module, nn.Linear):
        expected, fits = f"(images, {module.in_features})", received.shape[1:] == (module.in_features,)
    else:
        expected = f"(images, {module.in_channels}, height, width)"
        fits = received.dim() == 4 and received.shape[1] == module.in_channels
    if not fits:
        raise NetworkError(f"{label}: takes inputs {expected}, got {tuple(received.shape)}")


def _check_convolution(label: str, module: nn.Conv2d) -> None:
    for name, expected in _CONVOLUTION.items():
        if getattr(module, name) != expected:
            raise NetworkError(f"{label}: {name} is {getattr(module, name)}; {_CAN_CONVOLVE}")
    if module.kernel_size[0] != module.kernel_size[1]:
        raise NetworkError(f"{label}: kernel_size is {module.kernel_size}; {_CAN_CONVOLVE}")
