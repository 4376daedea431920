"""SpikingJelly's multi-step mode: each layer over all steps at once, as the engine does, without its kernels.

Its neuron resets in the same step, where snnTorch's resets one step later: the rates compare, the spikes do not.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tests.bench.training_plain import BETA, THRESHOLD
from tests.bench.training_sizes import Size

HOW_TO_INSTALL = "not measured: .venv/bin/pip install --no-deps spikingjelly loguru"


def is_installed() -> bool:
    """Whether SpikingJelly can be imported."""
    try:
        import spikingjelly.activation_based.neuron  # noqa: F401
    except ImportError:
        return False
    return True


class MultiStepNet(nn.Module):
    """Convolutions pooled before their neurons, then two dense layers.

    Args:
        size: A network of this benchmark.
        once: Run the first convolution and its pool once an image, as the input is the same at each step.
    """

    def __init__(self, size: Size, *, once: bool) -> None:
        from spikingjelly.activation_based import functional, layer, neuron, surrogate

        super().__init__()

        def lif() -> Any:
            return neuron.LIFNode(
                tau=1 / (1 - BETA),  # its leak is 1 - 1/tau
                decay_input=False,
                v_threshold=THRESHOLD,
                v_reset=None,  # subtract the threshold
                surrogate_function=surrogate.ATan(),
                detach_reset=True,
            )

        self._reset = functional.reset_net
        self.time_steps, self.once = size.time_steps, once
        channels, side, _ = size.image
        dense = (64, 10) if side == 8 else (256, 10)
        convs = (16,) if side == 8 else (32, 32)
        blocks: list[nn.Module] = []
        for maps in convs:
            blocks += [layer.Conv2d(channels, maps, 3, padding=1), layer.MaxPool2d(2), lif()]
            channels, side = maps, side // 2
        blocks.append(layer.Flatten())
        inputs = channels * side * side
        for outputs in dense:
            blocks += [layer.Linear(inputs, outputs), lif()]
            inputs = outputs
        self.first, self.rest = nn.Sequential(*blocks[:2]), nn.Sequential(*blocks[2:])
        functional.set_step_mode(self, "m")
        if once:
            functional.set_step_mode(self.first, "s")

    def forward(self, images: Tensor) -> Tensor:
        """Output spikes `(T, B, 10)`."""
        self._reset(self)
        if self.once:
            over_time = self.first(images).unsqueeze(0).expand(self.time_steps, -1, -1, -1, -1)
        else:
            over_time = self.first(images.unsqueeze(0).expand(self.time_steps, -1, -1, -1, -1))
        spikes: Tensor = self.rest(over_time)
        return spikes
