"""Does the network fit the image, and do the cores fit the network? Checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator

from hwmodel.accelerator import build_accelerator
from hwmodel.errors import HwmodelError
from objectives.architecture import check_network, layer_shapes
from objectives.data import describe
from objectives.errors import NetworkError
from objectives.spec import Study

Problem = tuple[tuple[str, ...], str]


def check_fields(study: Study) -> Iterator[Problem]:
    """Problems of network and accelerator as `(field path, what is wrong and what is right)`."""
    info = describe(study.dataset.name)
    try:
        check_network(study.network, info.image, info.classes, pool=study.pool)
        shapes = layer_shapes(study.network, info.image)
    except NetworkError as error:
        yield ("network",), str(error)
        return
    try:
        build_accelerator(
            shapes,
            study.accelerator.neural_cores,
            dense_first=study.encoding == "direct" and study.accelerator.input == "same",
            time_steps=study.time_steps,
            clock_hz=study.accelerator.clock_mhz * 1e6,
            mode=study.accelerator.mode,
            schedule=study.accelerator.schedule,
            device=study.accelerator.device,
            preset=study.accelerator.preset,
        )
    except HwmodelError as error:
        yield ("accelerator",), str(error)
