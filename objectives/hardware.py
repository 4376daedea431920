"""The accelerator that a study's settings describe, sized for its network. No torch."""

from __future__ import annotations

from hwmodel.accelerator import Accelerator, build_accelerator
from objectives.architecture import layer_shapes
from objectives.data import describe
from objectives.spec import AcceleratorSpec, Study


def accelerator_of(study: Study, hardware: AcceleratorSpec | None = None) -> Accelerator:
    """The accelerator of one trial; or, with `hardware` of another trial, that one under this trial's network.

    Raises:
        NetworkError: The network does not fit the image.
        AcceleratorError: The cores do not fit the network; the message names the layer and what is right.
        DeviceError: The device is unknown.
    """
    chosen = hardware or study.accelerator
    return build_accelerator(
        layer_shapes(study.network, describe(study.dataset.name).image),
        chosen.neural_cores,
        dense_first=is_dense_first(study),
        time_steps=study.time_steps,
        clock_hz=chosen.clock_mhz * 1e6,
        mode=chosen.mode,
        schedule=chosen.schedule,
        device=chosen.device,
        preset=chosen.preset,
    )


def is_dense_first(study: Study) -> bool:
    """Whether the first layer sees real-valued pixels, which takes the dense core, instead of spikes."""
    return study.encoding == "direct" and study.accelerator.input == "same"
