"""What a layer occupies: LUTs, flip-flops, BRAM, UltraRAM and DSPs as a structural estimate.

The counts follow from the registers, memories and adders the published design describes, not from a
synthesis run. They never fall when cores, bits, encoders, frames or steps grow. Take them for +-50 %. Constants
without a named source are our own reading of what a structure of that kind costs in six-input LUTs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hwmodel.accelerator import Accelerator
from hwmodel.cores import ConvCore, Core, DenseCore, FcCore, ceil_div
from hwmodel.device import PARTS, Device

BRAM18_BITS = 18 * 1024
"""Bits of half a BRAM36 (AMD UG573, UG473)."""

BRAM18_WIDTH = 36
"""Widest port of half a BRAM36 in simple dual-port use (AMD UG573, UG473)."""

URAM_WORDS, URAM_WIDTH, URAM_PORTS = 4096, 72, 2
"""An UltraRAM block: 288 Kbit of fixed shape, each port reads or writes one word a cycle (AMD UG573)."""

DSP_WIDE, DSP_NARROW = 25, 18
"""Operand widths of one DSP48 multiplier; the 7-series one, the smaller of the two families (AMD UG479)."""

LEAK_BITS = 18
"""Width of the leak coefficient: one narrow DSP operand."""

CONTROL_LUTS, CONTROL_FFS = 200, 200
"""One event-control unit or dense sequencer: counters and state."""

CORE_LUTS, CORE_FFS = 64, 64
"""One core's address generation and phase counters."""

LUTS_PER_MEMBRANE_BIT = 4
"""Adder, saturation, comparator and subtraction."""

FFS_PER_MEMBRANE_BIT = 2
"""Operand and result registers."""

LUTS_PER_WEIGHT_BIT, FFS_PER_WEIGHT_BIT = 1, 1
"""Zero-point subtraction and the weight register."""

LUTS_PER_CELL = 8
"""Control of one multiply-accumulate cell; its multiplier is in DSPs."""

LUTS_PER_ENCODER_BIT = 2
"""Priority search and clearing of one chunk position."""

LUT_RAM_BITS = 64
"""Bits of one LUT used as memory (AMD UG474)."""

SPIKE_BUFFERS = 2
"""The compressor fills one spike buffer while the iterator reads the other."""


@dataclass(frozen=True)
class Resources:
    """Occupied parts of a device; half a BRAM36 is legal."""

    luts: int = 0
    flip_flops: int = 0
    bram36: float = 0.0
    uram: int = 0
    dsp: int = 0

    def fits(self, device: Device) -> bool:
        """Whether the device holds all of it.

        Raises:
            DeviceError: How much of an occupied part the device holds is unknown.
        """
        return all(share <= 1 for share in self.utilisation(device).values())

    def utilisation(self, device: Device) -> dict[str, float]:
        """Share of each of the device's parts, 0 to 1 and beyond, by the names of `device.PARTS`.

        Raises:
            DeviceError: How much of an occupied part the device holds is unknown.
        """
        return {part: self.share(device, part) for part in PARTS}

    def share(self, device: Device, part: str) -> float:
        """Share of one part: 0 if none is occupied, infinite if some is and the device holds none.

        Raises:
            DeviceError: The part is occupied and how much the device holds is unknown.
        """
        used: float = getattr(self, part)
        if used == 0:
            return 0.0
        available = device.available(part)
        return used / available if available else math.inf


def total_resources(parts: Iterable[Resources]) -> Resources:
    """Sum over layers."""
    parts = list(parts)
    return Resources(
        luts=sum(part.luts for part in parts),
        flip_flops=sum(part.flip_flops for part in parts),
        bram36=sum(part.bram36 for part in parts),
        uram=sum(part.uram for part in parts),
        dsp=sum(part.dsp for part in parts),
    )


def layer_resources(core: Core, accelerator: Accelerator) -> Resources:
    """Resources of one layer: control and encoder once, each core `cores` times, memories.

    Args:
        core: A layer of the accelerator, or one that could replace it.
        accelerator: Gives steps, bit widths, schedule and where weights are kept.
    """
    per_core = _dense_row(core, accelerator) if isinstance(core, DenseCore) else _neural_core(core, accelerator)
    shared = Resources() if isinstance(core, DenseCore) else _encoder(core)
    halves = _potential_halves(core, accelerator) + _input_halves(core, accelerator)
    in_uram = accelerator.weight_memory == "uram"
    if not in_uram:
        halves += _weight_halves(core, accelerator.weight_bits)
    return Resources(
        luts=CONTROL_LUTS + shared.luts + core.cores * per_core.luts,
        flip_flops=CONTROL_FFS + shared.flip_flops + core.cores * per_core.flip_flops,
        bram36=halves / 2,
        uram=_weight_urams(core, accelerator.weight_bits) if in_uram else 0,
        dsp=core.cores * per_core.dsp,
    )


def weight_words(core: Core) -> int:
    """Stored weights of a layer, one bias an output included."""
    return core.out_channels * (_fan_in(core) + 1)


def multipliers(wide_bits: int, narrow_bits: int) -> int:
    """DSPs of one multiplier."""
    return ceil_div(wide_bits, DSP_WIDE) * ceil_div(narrow_bits, DSP_NARROW)


def address_bits(core: ConvCore | FcCore) -> int:
    """Width of one spike's address: a position of a map, for fc one of all inputs."""
    positions = core.inputs if isinstance(core, FcCore) else core.in_frame
    return max(1, (positions - 1).bit_length())


def _fan_in(core: Core) -> int:
    return core.inputs if isinstance(core, FcCore) else core.in_channels * core.kernel * core.kernel


def _neural_core(core: ConvCore | FcCore, accelerator: Accelerator) -> Resources:
    weight, membrane = accelerator.weight_bits, accelerator.membrane_bits
    return Resources(
        luts=CORE_LUTS + LUTS_PER_MEMBRANE_BIT * membrane + LUTS_PER_WEIGHT_BIT * weight,
        flip_flops=CORE_FFS + FFS_PER_MEMBRANE_BIT * membrane + FFS_PER_WEIGHT_BIT * weight + core.out_frame,
        dsp=multipliers(membrane, LEAK_BITS),
    )


def _dense_row(core: DenseCore, accelerator: Accelerator) -> Resources:
    """A systolic row: each cell multiplies a pixel and passes a partial sum on."""
    weight, membrane = accelerator.weight_bits, accelerator.membrane_bits
    cells = core.in_channels * core.kernel * core.kernel
    return Resources(
        luts=CORE_LUTS + LUTS_PER_MEMBRANE_BIT * membrane + cells * LUTS_PER_CELL,
        flip_flops=CORE_FFS + FFS_PER_MEMBRANE_BIT * membrane + cells * (membrane + weight) + core.out_frame,
        dsp=cells * multipliers(weight, accelerator.pixel_bits) + multipliers(membrane, LEAK_BITS),
    )


def _encoder(core: ConvCore | FcCore) -> Resources:
    """The fetched map, the chunk being searched, and a convolution's spike buffers in LUT memory."""
    positions = core.inputs if isinstance(core, FcCore) else core.in_frame
    buffered = 0
    if isinstance(core, ConvCore):
        buffered = SPIKE_BUFFERS * ceil_div(core.spike_buffer, LUT_RAM_BITS) * address_bits(core)
    return Resources(luts=LUTS_PER_ENCODER_BIT * core.penc + buffered, flip_flops=positions + core.penc)


def _weight_halves(core: Core, bits: int) -> int:
    """Weights are spread over the cores; a half BRAM may serve two neighbours through its two ports."""
    ports = core.cores * ceil_div(bits, BRAM18_WIDTH)
    return max(ceil_div(weight_words(core) * bits, BRAM18_BITS), ports)


def _weight_urams(core: Core, bits: int) -> int:
    """The same in UltraRAM; a word holds whole weights, or several words side by side one wide weight.

    Picking a weight out of its word is not counted.
    """
    beside = ceil_div(bits, URAM_WIDTH)
    words = ceil_div(weight_words(core), max(1, URAM_WIDTH // bits))
    return beside * max(ceil_div(words, URAM_WORDS), ceil_div(core.cores, URAM_PORTS))


def _potential_halves(core: Core, accelerator: Accelerator) -> int:
    """One membrane memory a core, for one output map (reused by every group)."""
    return core.cores * _memory_halves(core.out_frame, accelerator.membrane_bits)


def _input_halves(core: Core, accelerator: Accelerator) -> int:
    """The image, or the incoming spike train (twice under ping_pong); fc also keeps all steps' addresses."""
    copies = 2 if accelerator.schedule == "ping_pong" else 1
    if isinstance(core, DenseCore):
        return copies * _memory_halves(core.in_frame * core.in_channels, accelerator.pixel_bits)
    maps = copies * _memory_halves(accelerator.time_steps * core.in_channels, core.in_frame)
    if isinstance(core, ConvCore):
        return maps
    return maps + _memory_halves(accelerator.time_steps * core.inputs, address_bits(core))


def _memory_halves(words: int, bits: int) -> int:
    return max(ceil_div(words * bits, BRAM18_BITS), ceil_div(bits, BRAM18_WIDTH))
