"""What a trained network scores: all objectives from the same weights and the same pass over the images.

Where trials search accelerators, a network is scored on the best one that its search found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from hwmodel.simulate import Simulation, simulate
from objectives.activity import Activity, record
from objectives.checkpoint import load_tensors
from objectives.data import Dataset
from objectives.errors import CheckpointError, SpecError
from objectives.hardware import accelerator_of, is_dense_first
from objectives.hardwaresearch import dump, search_accelerators
from objectives.network import SpikingNetwork, build_network
from objectives.neurobench import neurobench
from objectives.spec import Study

_UJ_PER_J = 1e6


@dataclass(frozen=True)
class Score:
    """Score of one network on some images.

    Attributes:
        values: `accuracy` (share), `latency_ms` (mean over images), `fps_per_watt` and `energy_uj` (mean
            over images) where the device's static power is known.
        details: JSON-ready: standard error, firing rates, silent layers, NeuroBench's figures, first layer, the
            hardware report, whether it fits the device and the budget, hazards; with a search of accelerators what
            was chosen, its front, and how much was swept.
        on_baseline_accelerator: `latency_ms` and `fps_per_watt` of the same activity on the baseline's
            accelerator; None without a baseline, or where the baseline has another network.
        hardware_front: Every accelerator worth building, as `hardwaresearch.dump` writes it; None without a search.
    """

    values: dict[str, float]
    details: dict[str, Any]
    on_baseline_accelerator: dict[str, float] | None
    hardware_front: bytes | None = None


def score(
    study: Study, network: SpikingNetwork, images: Tensor, labels: Tensor, *, seed: int, baseline: Study | None
) -> Score:
    """Score a network on images `(N, C, H, W)` with labels `(N,)`.

    With `accelerator.input: rate` a directly trained network is evaluated a second time, rate-coded: that
    activity drives the accelerator, and its accuracy stands beside the trained coding's.

    Args:
        study: The trial's settings.
        network: The trained network.
        images: Images to evaluate.
        labels: Their classes.
        seed: Keys random input coding.
        baseline: The baseline trial's settings, for `on_baseline_accelerator`.

    Raises:
        TrainingError: There are no images.
        AcceleratorError: The accelerator does not fit the network.
        DeviceError: The device's static power, and so its energy, is unknown.
    """
    trained = record(network, images, labels, encoding=study.encoding, seed=seed)
    seen = trained
    if _is_recoded(study):
        seen = record(network, images, labels, encoding="rate", seed=seed)
    found = None if study.accelerator.search is None else search_accelerators(study, seen.counts)
    built = study if found is None else study.with_accelerator(found.chosen)
    simulation = simulate(accelerator_of(built), seen.counts)
    details = _details(study, network, trained, seen, simulation)
    return Score(
        values={"accuracy": trained.accuracy, **_hardware(simulation)},
        details=details if found is None else {**details, "fits_budget": not found.shortage, **found.details()},
        on_baseline_accelerator=_on_baseline(study, baseline, seen),
        hardware_front=None if found is None else dump(found.front),
    )


@dataclass(frozen=True)
class Bound:
    """The best that a trial can come to.

    Attributes:
        values: As of a `Score`, with accuracy 1.
        fits_device: Whether its accelerator fits the device.
    """

    values: dict[str, float]
    fits_device: bool


def bound(study: Study, network: SpikingNetwork, images: Tensor, labels: Tensor, *, seed: int) -> Bound | None:
    """What a network would score that is right about every image `(N, C, H, W)` and silent behind its first layer.

    Spikes never save cycles or energy in the modes `ideal` and `tlm`; what the first layer sees does not depend on
    training. None in `rtl`, whose races may reward lost spikes, and where trials search accelerators.

    Raises:
        As `score`.
    """
    if study.accelerator.mode == "rtl" or study.accelerator.search is not None:
        return None
    encoding = "rate" if _is_recoded(study) else study.encoding
    first, *behind = record(network, images, labels, encoding=encoding, seed=seed).counts
    simulation = simulate(accelerator_of(study), [first, *map(np.zeros_like, behind)])
    return Bound({"accuracy": 1.0, **_hardware(simulation)}, simulation.fits_device)


def score_test(study: Study, weights: bytes, data: Dataset, seed: int, baseline: Study | None = None) -> Score:
    """Score exported weights on the held-back test set, on the accelerator of the study.

    Raises:
        SpecError: The study leaves the choice of the accelerator open, which is not to be made on these images.
        CheckpointError: The weights are torn or of another network.
    """
    if study.accelerator.search is not None:
        raise SpecError("accelerator.search: the test set chooses nothing; give the accelerator that the trial chose")
    network = build_network(study, data.info, seed)
    try:
        network.load_state_dict(load_tensors(weights))
    except RuntimeError as error:  # torch: names or shapes differ
        raise CheckpointError(
            f"the weights do not fit the network {study.network}; give those of this trial"
        ) from error
    return score(study, network, data.test.images, data.test.labels, seed=seed, baseline=baseline)


def _is_recoded(study: Study) -> bool:
    return study.encoding != "rate" and study.accelerator.input == "rate"


def _hardware(simulation: Simulation) -> dict[str, float]:
    """Latency; FPS/W and energy where the device's static power is known (unknown is never 0)."""
    values = {"latency_ms": float(simulation.latency_ms)}
    if simulation.accelerator.device.static_w is not None:
        values["fps_per_watt"] = float(simulation.fps_per_watt)
        values["energy_uj"] = float(simulation.energy_j.mean()) * _UJ_PER_J
    return values


def _on_baseline(study: Study, baseline: Study | None, seen: Activity) -> dict[str, float] | None:
    if baseline is None or baseline.network != study.network:
        return None
    again = _hardware(simulate(accelerator_of(study, baseline.accelerator), seen.counts))
    return {name: value for name, value in again.items() if name != "energy_uj"}


def _details(
    study: Study, network: SpikingNetwork, trained: Activity, seen: Activity, simulation: Simulation
) -> dict[str, Any]:
    details: dict[str, Any] = {
        "images": len(trained.correct),
        "accuracy_standard_error": trained.standard_error,
        "firing_rates": trained.firing_rates,
        "silent_layers": trained.silent_layers,
        "neurobench": neurobench(network, trained, weight_bits=study.weight_bits).report(),
        "first_layer": {
            "core": "dense" if is_dense_first(study) else "sparse",
            "input": "rate" if study.accelerator.input == "rate" else study.encoding,
            "latency_share": simulation.first_layer_share,
        },
        "fits_device": simulation.fits_device,
        "hazards": simulation.hazards,
        "hardware": simulation.report(),
    }
    if _is_recoded(study):
        details["accuracy_under_accelerator_input"] = seen.accuracy
        details["firing_rates_under_accelerator_input"] = seen.firing_rates
    return details
