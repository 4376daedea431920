"""Energy of an inference: idle power over time, plus an energy for each event.

    E = (static power + clock power of what is allocated) * time + sum over events (number * energy each)

Events are those the network asks for, in `rtl` mode too: work the circuit drops by a defect is not
credited. Their number depends neither on the number of cores nor on the clock. What follows, exactly:

* Over equal time more spikes, cores, bits or clock never cost less energy.
* In its own time, in `ideal` mode, an image with more spikes or bits never costs less. A faster clock costs the
  same for events and clock and less for static power, which lasts 1 / clock: the total falls. More cores cost
  the same for events, and shorten the time: the total may fall, and so may the clock's part.

All constants are estimates (+-50 %): compare designs with them, do not quote watts.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwmodel.accelerator import Accelerator
from hwmodel.cores import Core, DenseCore, FcCore
from hwmodel.resources import Resources, address_bits
from hwmodel.units import Watts

Floats = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int32] | NDArray[np.int64]

EVENTS = ("accumulate", "weight_read", "membrane_read", "membrane_write", "encoder", "activation")
ENERGY_CAUSES = ("static", "clock", *EVENTS)

REFERENCE_BITS = 32
"""Width at which the event energies are stated; they scale linearly with the width they move."""

REFERENCE_ADDRESS_BITS = 10
"""Width of a spike's address at which the encoder's energy is stated."""

REFERENCE_HZ = 180e6
"""Clock of the report below; dynamic power is linear in frequency."""

LUT_W, NET_W = 2.60e-6, 2.95e-6
"""A LUT and the net it drives at default activity (public Alveo U50 Vivado report, tool estimate, +-50 %)."""

FLIP_FLOP_W, CLOCK_TREE_W = 0.206e-6, 3.70e-6
"""A flip-flop and its share of the clock tree (same report, +-50 %)."""

DSP_FLIP_FLOPS = 96
"""A DSP's clock load, as its pipeline registers A 30 + B 18 + P 48 bits (AMD UG579); no power was found."""


def layer_events(core: Core, counts: Counts) -> Floats:
    """Events of one layer `(images, 6)`, in the order of `EVENTS`.

    Args:
        core: The layer as built; its number of cores does not matter.
        counts: Spikes at its input `(images, T, C)`; a dense core looks at the shape only.

    Every spike meets K*K taps of every output channel (fc: every neuron), taps outside the map included; each
    accumulate reads a weight and reads and writes a potential. Each neuron is activated once a step,
    reading and writing its potential. The encoder delivers each spike once to the core of each output
    channel.
    """
    images, steps = counts.shape[:2]
    neurons = float(steps * core.out_frame * core.out_channels)
    events = np.empty((images, len(EVENTS)))
    if isinstance(core, DenseCore):
        cells = core.in_channels * core.kernel * core.kernel
        weights = float(steps * core.out_channels * cells)  # stay in their cells for a step
        events[:] = (neurons * cells, weights, neurons, neurons, 0.0, neurons)
        return events
    delivered = counts.sum(axis=(1, 2), dtype=np.int64) * float(core.out_channels)
    taps = 1 if isinstance(core, FcCore) else core.kernel * core.kernel
    added = delivered * taps
    for column, number in enumerate((added, added, added + neurons, added + neurons, delivered, neurons)):
        events[:, column] = number
    return events


def event_energies(core: Core, accelerator: Accelerator) -> Floats:
    """Energy of one event of each kind in this layer `(6,)` [J], in the order of `EVENTS`."""
    each = accelerator.energies
    weight = accelerator.weight_bits / REFERENCE_BITS
    membrane = accelerator.membrane_bits / REFERENCE_BITS
    read = each.uram_weight_read if accelerator.weight_memory == "uram" else each.weight_read
    if isinstance(core, DenseCore):
        add, encode = each.multiply_accumulate * (weight + membrane) / 2, 0.0
    else:
        add, encode = each.accumulate * membrane, each.encoder * address_bits(core) / REFERENCE_ADDRESS_BITS
    return np.array(
        [
            add,
            read * weight,
            each.membrane_read * membrane,
            each.membrane_write * membrane,
            encode,
            each.activation * membrane,
        ]
    )


def clock_power(resources: Resources, clock_hz: float) -> Watts:
    """Power of clocked but otherwise idle logic [W]; memories are counted by their accesses instead."""
    registers = resources.flip_flops + DSP_FLIP_FLOPS * resources.dsp
    at_reference = registers * (FLIP_FLOP_W + CLOCK_TREE_W) + resources.luts * (LUT_W + NET_W)
    return Watts(at_reference * clock_hz / REFERENCE_HZ)


def layer_energy(
    core: Core,
    counts: Counts,
    accelerator: Accelerator,
    *,
    resources: Resources,
    interval_s: Floats,
    share: Floats,
) -> Floats:
    """Energy of one layer by cause `(images, 8)` [J], in the order of `ENERGY_CAUSES`.

    Args:
        core: A layer of the accelerator.
        counts: Spikes at its input `(images, T, C)`.
        accelerator: Gives device, clock and widths.
        resources: What the layer occupies; clocked for the whole interval.
        interval_s: Time one image holds the accelerator `(images,)`.
        share: The layer's part of the device's static energy `(images,)`; over all layers 1.

    Raises:
        DeviceError: The device's static power is unknown.
    """
    energy = np.empty((len(interval_s), len(ENERGY_CAUSES)))
    energy[:, 0] = accelerator.device.static_power() * interval_s * share
    energy[:, 1] = clock_power(resources, accelerator.clock_hz) * interval_s
    energy[:, 2:] = layer_events(core, counts) * event_energies(core, accelerator)
    return energy
