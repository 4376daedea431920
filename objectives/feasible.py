"""Does the study hold together: network and image, cores and network, the dimensions of the search?

Checked before anything is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hwmodel.device import known_devices, load_device
from hwmodel.errors import DeviceError, HwmodelError
from hwmodel.limits import check_cores
from objectives.architecture import check_network, layer_shapes
from objectives.data import DatasetInfo, describe
from objectives.errors import NetworkError, SpecError
from objectives.hardware import accelerator_of, check_least, searched_space
from objectives.space import Choice, Domain, Integer, Params, Scalar, dimensions, grid_size
from objectives.spec import SEARCHABLE, Study

Problem = tuple[tuple[str, ...], str]

WIDEST = 65_536
"""Most maps, neurons or positions of a layer: far above what fits a device, and quick to check."""

LARGEST_GRID = 1_000_000

CHOSEN_BY_TRIALS = ("accelerator.neural_cores", "accelerator.encoder_widths")
"""Dimensions that a search of accelerators by every trial leaves no sense."""


def check_fields(study: Study) -> Iterator[Problem]:
    """Problems of network and accelerator as `(field path, what is wrong and what is right)`, the first one."""
    info = describe(study.dataset.name)
    if found := next(_check_dataset(study, info), None):
        yield found
        return
    try:
        check_network(study.network, info.image, info.classes, pool=study.pool)
        shapes = layer_shapes(study.network, info.image)
    except NetworkError as error:
        yield ("network",), str(error)
        return
    for shape in shapes:
        if (size := max(shape.out_channels, shape.out_frame)) > WIDEST:
            yield ("network",), f"{shape.name} has {size} maps, neurons or positions; use at most {WIDEST}"
            return
    hardware = study.accelerator
    checks: tuple[tuple[tuple[str, ...], Callable[[], Any]], ...] = (
        (("accelerator", "neural_cores"), lambda: check_cores(shapes, hardware.neural_cores)),
        (("accelerator", "device"), lambda: _check_device(study)),
        (("accelerator",), lambda: accelerator_of(study)),
    )
    if hardware.search is not None:
        checks += (
            (("accelerator", "search"), lambda: searched_space(study)),
            (("accelerator", "report"), lambda: _check_report(study)),
            (("accelerator", "budget" if hardware.budget else "search"), lambda: check_least(study)),
        )
    for path, check in checks:
        try:
            check()
        except HwmodelError as error:
            yield path, str(error)
            return


def check_dimensions(study: Study) -> Iterator[Problem]:
    """Problems of the search: what cannot be searched, stands twice, or leads to a study that is not valid."""
    before: list[tuple[str, Domain, Params]] = []
    for name, domain, conditions in dimensions(study.search):
        path = _search_path(name, conditions)
        if name.partition(".")[0] not in SEARCHABLE:
            yield path, f"cannot be searched; dimensions lie in {', '.join(SEARCHABLE)}"
        if study.accelerator.search is not None and name.startswith(CHOSEN_BY_TRIALS):
            yield path, "every trial chooses it for itself, as accelerator.search says; remove one of the two"
        for _, other, when in (known for known in before if known[0] == name):
            if all(conditions[chosen] == when[chosen] for chosen in conditions.keys() & when.keys()):
                yield path, "stands twice, and both can hold at once; keep one"
            elif type(domain) is not type(other) or (isinstance(domain, Choice) and domain != other):
                yield path, f"is of another kind than the other {name}; give both the same form and the same options"
        if name in conditions:
            yield path, "stands twice, and both can hold at once; keep one"
        before.append((name, domain, conditions))
        for value in _checked_values(name, domain):
            problem = _problem_with(study, {**conditions, name: value}, name)
            if problem:
                yield path, problem


def check_grid(study: Study) -> Iterator[Problem]:
    """What keeps the space from being a grid."""
    for name, domain, conditions in dimensions(study.search):
        if conditions or domain.points() is None:
            yield (
                _search_path(name, conditions),
                "a grid needs choices, whole numbers or stepped ranges, without conditions; or another sampler",
            )
    if (size := grid_size(study.search) or 0) > LARGEST_GRID:
        yield ("search",), f"a grid of {size:,} points is too large; use at most {LARGEST_GRID:,} or another sampler"


def _check_dataset(study: Study, info: DatasetInfo) -> Iterator[Problem]:
    """Does the data set hold together, and with the coding of the input?"""
    data, least = study.dataset, min(info.image[1:])
    if data.name == "digits" and data.root is not None:
        yield ("dataset", "root"), "digits comes with scikit-learn, in no folder; remove root"
    if data.augment.crop >= least:
        size = f"{info.image[1]}x{info.image[2]}"
        yield ("dataset", "augment", "crop"), f"{data.augment.crop} for images of {size}; use less than {least}"
    if data.normalise != "none" and study.encoding != "direct":
        yield (
            ("dataset", "normalise"),
            f"encoding {study.encoding} needs values from 0 to 1; use none, or direct coding",
        )
    yield from _check_recordings(study) if info.is_events else _check_images(study)


def _check_images(study: Study) -> Iterator[Problem]:
    if study.encoding == "events":
        yield ("encoding",), f"{study.dataset.name} holds images; use direct, rate or latency, or a data set of events"
    if study.dataset.frames is not None:
        yield ("dataset", "frames"), f"{study.dataset.name} holds images, not recordings; remove frames"


def _check_recordings(study: Study) -> Iterator[Problem]:
    name, frames, steps = study.dataset.name, study.dataset.frames, study.time_steps
    if study.encoding != "events":
        yield ("encoding",), f"{name} holds recordings of events; use encoding: events"
    if frames is None:
        yield ("dataset", "frames"), f"is missing: {name} holds recordings; say how many frames each is cut into"
    elif frames % steps:
        divisors = ", ".join(str(step) for step in range(1, frames + 1) if frames % step == 0)
        yield ("time_steps",), f"{steps} does not divide dataset.frames: {frames}; use one of {divisors}"
    if study.accelerator.input == "rate":
        yield ("accelerator", "input"), f"{name} holds spikes, which drive the accelerator as they are; use same"


def _check_device(study: Study) -> None:
    if study.accelerator.device.endswith(".yaml"):  # not in the study's hash, and not on every worker's machine
        raise DeviceError(f"a study names a device, not a file; known: {', '.join(known_devices())}")
    device = load_device(study.accelerator.device)
    asked = {*study.objectives, *study.constraints.at_most}
    if asked & {"fps_per_watt", "energy_uj", "power_w"}:
        device.static_power()


def _check_report(study: Study) -> None:
    if study.accelerator.report == "max_fps_per_watt":
        load_device(study.accelerator.device).static_power()


def _checked_values(name: str, domain: Domain) -> Iterator[Scalar]:
    """The ends; of whole numbers of cores every one, as a divisor says nothing about its neighbours."""
    yield from domain.corners()
    if isinstance(domain, Integer) and name.startswith("accelerator.neural_cores."):
        yield from domain.points()


def _problem_with(study: Study, params: Params, name: str) -> str:
    try:
        resolved = study.resolve(params)
    except SpecError as error:
        return f"{params[name]!r} is not valid there: {error}"
    return next((f"with {name} = {params[name]}: {problem}" for _, problem in check_fields(resolved)), "")


def _search_path(name: str, conditions: Params) -> tuple[str, ...]:
    path = ["search"]
    for chosen, option in conditions.items():
        path += [chosen, "choice", str(option)]
    return (*path, name)
