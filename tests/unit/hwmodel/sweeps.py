"""Small sweeps for tests, and what they must find: every accelerator simulated alone, every pair compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodel.accelerator import Accelerator
from hwmodel.cores import Core, DenseCore, FcCore, LayerShape
from hwmodel.device import PARTS
from hwmodel.errors import AcceleratorError
from hwmodel.simulate import Simulation, simulate
from hwmodel.sweep import HardwareFront, SweepSpace, sweep
from tests.unit.hwmodel.networks import random_activity, small_accelerator

ROUNDING = 1e-9

THREE = (
    LayerShape("conv1", "conv", in_channels=2, in_frame=64, out_channels=4, out_frame=64, kernel=3),
    LayerShape("conv2", "conv", in_channels=4, in_frame=16, out_channels=6, out_frame=16, kernel=3),
    LayerShape("fc1", "fc", in_channels=6, in_frame=4, out_channels=8, out_frame=1, kernel=0),
)
TWINS = (
    LayerShape("fc1", "fc", in_channels=1, in_frame=8, out_channels=8, out_frame=1, kernel=0),
    LayerShape("fc2", "fc", in_channels=1, in_frame=8, out_channels=8, out_frame=1, kernel=0),
)

SPARSE = SweepSpace(
    neural_cores=((1, 2, 4), (2, 6), (1, 4, 8)),
    encoder_widths=((8, 16), (16, 4), (24, 10)),
    spike_buffers=((130, 16), (16,), ()),
)
DENSE = SweepSpace(
    neural_cores=((1, 2, 4), (1, 2, 3, 6), (1, 2, 4, 8)),
    encoder_widths=((), (4, 8), (24, 10)),
    spike_buffers=((), (16, 4), ()),
)

FOUR = SweepSpace(  # of networks.SMALL: a thrifty accelerator may beat a faster stream
    neural_cores=((1, 4), (4, 6), (5, 10), (1, 2)),
    encoder_widths=((16, 64), (4, 9), (21, 48), (8, 20)),
    spike_buffers=((64,), (9,), (), ()),
)


def three(**changes: Any) -> Accelerator:
    return small_accelerator(**{"shapes": THREE, "neural_cores": [2, 2, 4], **changes})


def activity_of(accelerator: Accelerator) -> list[NDArray[np.int64]]:
    return random_activity(accelerator, seed=3, images=4, rate=0.3)


def swept(space: SweepSpace | None = None, **changes: Any) -> HardwareFront:
    accelerator = three(**changes)
    return sweep(accelerator, activity_of(accelerator), space)


def swept_on_a_thrifty_device() -> HardwareFront:
    """With so little static power clocked parts weigh more than time: the fastest is not the most efficient."""
    accelerator = three()
    thrifty = replace(accelerator, device=replace(accelerator.device, static_w=1e-3))
    return sweep(thrifty, activity_of(accelerator), SPARSE)


def choices(accelerator: Accelerator) -> tuple[tuple[int, int, int], ...]:
    return tuple(
        (core.cores, getattr(core, "penc", 0), getattr(core, "spike_buffer", 0)) for core in accelerator.layers
    )


def found(front: HardwareFront) -> list[tuple[tuple[int, int, int], ...]]:
    return sorted(choices(front.build(index)) for index in range(len(front)))


def every_accelerator(accelerator: Accelerator, space: SweepSpace) -> list[Accelerator]:
    """All that can be built: `Accelerator` itself refuses what would hang."""
    options: list[list[Core]] = []
    for core, cores, widths, buffers in zip(
        accelerator.layers, space.neural_cores, space.encoder_widths, space.spike_buffers, strict=True
    ):
        if isinstance(core, DenseCore):
            options.append([replace(core, cores=number) for number in cores])
        elif isinstance(core, FcCore):
            options.append([replace(core, cores=number, penc=width) for number, width in product(cores, widths)])
        else:
            options.append(
                [
                    replace(core, cores=number, penc=width, spike_buffer=buffer)
                    for number, width, buffer in product(cores, widths, buffers)
                ]
            )
    built = []
    for layers in product(*options):
        try:
            built.append(replace(accelerator, layers=layers))
        except AcceleratorError:
            assert accelerator.mode == "rtl"
    return built


def figures(simulation: Simulation) -> list[float]:
    """Latency and parts as whole numbers, then energy, or the interval where energy is unknown."""
    used = simulation.resources
    known = simulation.accelerator.device.static_w is not None
    last = simulation.energy_j.mean() if known else simulation.interval_s.mean()
    return [simulation.cycles.sum(), *(2 * getattr(used, part) for part in PARTS), last]


def fits(simulation: Simulation, budget: Mapping[str, float]) -> bool:
    return simulation.fits_device and all(getattr(simulation.resources, part) <= most for part, most in budget.items())


def brute_force(
    accelerator: Accelerator, space: SweepSpace, budget: Mapping[str, float]
) -> list[tuple[tuple[int, int, int], ...]]:
    """The definition, with energies equal that differ by rounding alone."""
    every = [simulate(one, activity_of(accelerator)) for one in every_accelerator(accelerator, space)]
    every = [simulation for simulation in every if fits(simulation, budget)]
    points = np.array([figures(simulation) for simulation in every])
    slack = np.array([0] * (1 + len(PARTS)) + [ROUNDING])
    kept = []
    for simulation, point in zip(every, points, strict=True):
        no_worse = (points <= point * (1 + slack)).all(axis=1)
        better = (points < point * (1 - slack)).any(axis=1)
        if not (no_worse & better).any():
            kept.append(choices(simulation.accelerator))
    return sorted(kept)
