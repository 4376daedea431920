"""The accelerator that a study's settings describe, sized for its network; or all that a trial may choose. No torch."""

from __future__ import annotations

import math
from dataclasses import replace

from hwmodel.accelerator import Accelerator, build_accelerator
from hwmodel.device import PARTS, load_device
from hwmodel.errors import AcceleratorError
from hwmodel.resources import layer_resources, total_resources
from hwmodel.sweepspace import SweepSpace, full_space
from objectives.acceleratorspec import ChosenAccelerator
from objectives.architecture import layer_shapes
from objectives.data import describe
from objectives.spec import AcceleratorSpec, Study

LARGEST_SPACE = {"sequential": 10_000_000, "ping_pong": 100_000}
"""Most accelerators that a trial searches: so many took 0.1 to 0.25 s for six to eight layers and 1,200 images. Under
ping_pong each is looked at on its own."""


def accelerator_of(study: Study, hardware: AcceleratorSpec | None = None) -> Accelerator:
    """The accelerator of one trial; or, with `hardware` of another trial, that one under this trial's network.

    Where trials search accelerators, this is the one in the study: where they start from. Weights of fewer than 32 bits
    are stored and read as such; at 32 the preset's width holds.

    Raises:
        NetworkError: The network does not fit the image.
        AcceleratorError: The cores do not fit the network; the message names the layer and what is right.
        DeviceError: The device is unknown.
    """
    chosen = hardware or study.accelerator
    accelerator = build_accelerator(
        layer_shapes(study.network, describe(study.dataset.name).image),
        chosen.neural_cores,
        dense_first=is_dense_first(study),
        time_steps=study.time_steps,
        clock_hz=chosen.clock_mhz * 1e6,
        mode=chosen.mode,
        schedule=chosen.schedule,
        device=chosen.device,
        preset=chosen.preset,
        encoder_widths=chosen.encoder_widths,
    )
    return accelerator if study.weight_bits == 32 else replace(accelerator, weight_bits=study.weight_bits)


def is_dense_first(study: Study) -> bool:
    """Whether the first layer sees real-valued pixels, which takes the dense core, instead of spikes."""
    return study.encoding == "direct" and study.accelerator.input == "same"


def searched_space(study: Study) -> SweepSpace:
    """The accelerators from which a trial chooses.

    Raises:
        AcceleratorError: A choice does not fit its layer (the message names it and the divisors), or there are more
            than `LARGEST_SPACE`.
        NetworkError, DeviceError: As `accelerator_of`.
    """
    search = study.accelerator.search
    assert search is not None
    cores = None if search.neural_cores == "all" else search.neural_cores
    space = full_space(accelerator_of(study), neural_cores=cores, encoder_divisors=search.encoder_divisors)
    most = LARGEST_SPACE[study.accelerator.schedule]
    if space.size > most:
        raise AcceleratorError(
            f"{space.size:,} accelerators are too many for every trial (schedule {study.accelerator.schedule}); "
            f"leave at most {most:,}: name fewer neural_cores a layer, or fewer encoder_divisors"
        )
    return space


def least_choice(space: SweepSpace) -> ChosenAccelerator:
    """The accelerator that occupies least: no part ever shrinks when a choice grows."""
    return ChosenAccelerator(
        neural_cores=tuple(min(choices) for choices in space.neural_cores),
        encoder_widths=tuple(min(choices, default=None) for choices in space.encoder_widths),
    )


def check_least(study: Study) -> None:
    """Refuse a search that finds nothing, whatever a network learns: resources do not depend on it.

    Raises:
        AcceleratorError: Even the least accelerator is too large for the device or the budget.
        DeviceError: How much the device holds is unknown.
    """
    accelerator = accelerator_of(study.with_accelerator(least_choice(searched_space(study))))
    least = total_resources(layer_resources(core, accelerator) for core in accelerator.layers)
    device = load_device(study.accelerator.device)
    limits = study.accelerator.budget.limits() if study.accelerator.budget else {}
    for part in PARTS:
        needed = getattr(least, part)
        if needed > limits.get(part, math.inf):
            raise AcceleratorError(
                f"no accelerator fits: the least of the search needs {needed:,g} {part}, the budget allows "
                f"{limits[part]:,g}; raise it, or take a smaller network"
            )
        if needed and needed > device.available(part):
            raise AcceleratorError(
                f"no accelerator fits: the least of the search needs {needed:,g} {part}, device {device.name} has "
                f"{device.available(part):,g}; take a larger device or a smaller network"
            )
