"""A stream of images through the accelerator: when each layer starts and ends each image, drains overlapping exactly.

`simulate` takes images one by one. Here they follow one another as fast as the schedule lets them, and each
convolution's iterator may still be busy with the image before. Buffers decide who may start:

    sequential  one memory between two layers: layer l starts when layer l-1 has ended, the first layer when
                the last one has ended the image before
    ping_pong   two memories: layer l starts image i once layer l-1 has ended it, its own compressor has done with
                image i-1, and layer l+1 with image i-2, whose memory it writes (our extension)

In `rtl` mode a layer ends with its flag, beside which its drain goes on. The published fully connected layers take
one image a reset: with one of them every image of a sequential stream begins after a reset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwmodel import circuit, kernels
from hwmodel.accelerator import Accelerator
from hwmodel.activity import check_activity
from hwmodel.circuit import HAZARDS, REGISTERS
from hwmodel.cores import ConvCore, Core, FcCore, Mode
from hwmodel.cycles import conv_timing, fc_timing, layer_cycles
from hwmodel.errors import AcceleratorError
from hwmodel.kernels import CAUSES, Counts, Ints

_NO_LOG = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Stream:
    """When each layer works on each image, in cycles since the first start.

    Attributes:
        accelerator: As passed in.
        starts: Start pulse `(images, layers)`.
        ready: Cycle from which the layer could take its next image `(images, layers)`.
        ends: Cycle in which its output is complete (`rtl`: its flag) `(images, layers)`.
    """

    accelerator: Accelerator
    starts: Ints
    ready: Ints
    ends: Ints

    @property
    def latency(self) -> Ints:
        """Cycles from each image's start to its result `(images,)`, waiting for memories included."""
        latency: Ints = self.ends[:, -1] - self.starts[:, 0]
        return latency

    @property
    def interval(self) -> float:
        """Mean cycles between two results; the only latency where there is one image."""
        if len(self.ends) == 1:
            return float(self.latency[0])
        return float(self.ends[-1, -1] - self.ends[0, -1]) / (len(self.ends) - 1)

    @property
    def fps(self) -> float:
        """Images a second."""
        return self.accelerator.clock_hz / self.interval


def stream(accelerator: Accelerator, activity: Sequence[Counts | Ints]) -> Stream:
    """Send images through the accelerator one after the other.

    Args:
        accelerator: The network as built; its schedule says who may start when.
        activity: As in `simulate`.

    Raises:
        ActivityError: The counts do not fit the accelerator, or there is no image.
        AcceleratorError: The mode is `tlm`, which knows single images only.
    """
    if accelerator.mode == "tlm":
        raise AcceleratorError("mode 'tlm' describes single images; use 'ideal' or 'rtl' for a stream")
    counts = check_activity(accelerator, activity)
    layers = [_Layer(core, layer, accelerator.mode) for core, layer in zip(accelerator.layers, counts, strict=True)]
    shape = len(counts[0]), len(layers)
    starts, ready, ends = (np.zeros(shape, np.int64) for _ in range(3))
    is_reset = accelerator.schedule == "sequential" and any(isinstance(core, FcCore) for core in accelerator.layers)
    for image in range(shape[0]):
        for index, layer in enumerate(layers):
            starts[image, index] = _start(accelerator, ready, ends, image, index)
            if is_reset:
                layer.reset()
            ready[image, index], ends[image, index] = layer.run(image, int(starts[image, index]))
    return Stream(accelerator=accelerator, starts=starts, ready=ready, ends=ends)


def _start(accelerator: Accelerator, ready: Ints, ends: Ints, image: int, index: int) -> int:
    """First cycle in which a layer may start an image."""
    if index > 0:
        earliest = int(ends[image, index - 1])
    elif image > 0 and accelerator.schedule == "sequential":
        earliest = int(ends[image - 1, -1])
    else:
        earliest = 0
    if image > 0:
        earliest = max(earliest, int(ready[image - 1, index]))
    if image > 1 and index + 1 < ready.shape[1]:
        earliest = max(earliest, int(ready[image - 2, index + 1]))
    return earliest


class _Layer:
    """One layer between images: its counts, and the registers that outlive an image."""

    def __init__(self, core: Core, counts: Counts, mode: Mode) -> None:
        self._core, self._counts, self._mode = core, counts, mode
        self._registers = np.zeros(REGISTERS if mode == "rtl" else 2, np.int64)
        self.reset()

    def reset(self) -> None:
        self._registers[:] = 0
        if self._mode == "rtl":
            circuit.reset(self._registers)

    def run(self, image: int, pulse: int) -> tuple[int, int]:
        """Cycles from which the layer takes the next image, and in which its output is complete."""
        if isinstance(self._core, ConvCore):
            return self._convolve(self._core, image, pulse)
        cycles = int(layer_cycles(self._core, self._counts[image : image + 1], self._mode).cycles[0])
        writing = fc_timing(self._core, self._mode).tail if isinstance(self._core, FcCore) else 0
        return pulse + cycles - writing, pulse + cycles

    def _convolve(self, core: ConvCore, image: int, pulse: int) -> tuple[int, int]:
        counts, timing = self._counts[image], conv_timing(core, self._mode)
        causes = np.zeros(len(CAUSES), np.int64)
        if self._mode == "ideal":
            ready, done, _ = kernels.conv_ideal(counts, timing, pulse, self._registers, causes)
            return ready, done
        hazards = np.zeros(len(HAZARDS), np.int64)
        flag, _, _, _ = circuit.conv_rtl(counts, timing, pulse, self._registers, causes, hazards, _NO_LOG, _NO_LOG)
        return flag, flag
