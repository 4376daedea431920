"""Use cases of the accelerator model: a trained network on other accelerators, and how sure a front is."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
from pydantic import ValidationError
from torch import Tensor

from hwmodel.accelerator import Accelerator
from hwmodel.device import PARTS
from hwmodel.hardwarefront import HardwareFront, Report
from hwmodel.resources import layer_resources
from hwmodel.sensitivity import Change, sensitivity, split_of
from hwmodel.simulate import simulate
from hwmodel.sweep import sweep
from hwmodel.sweepspace import SweepSpace, full_space, layer_cores
from objectives import checkpoint
from objectives.activity import Activity, record
from objectives.data import DatasetInfo, load_dataset
from objectives.errors import CheckpointError, SpecError
from objectives.hardware import accelerator_of
from objectives.network import SpikingNetwork, build_network
from objectives.spec import OBJECTIVES, Study
from objectives.validation import problem
from service.errors import NotFound, UsageError
from service.export import SCORES_FILE, SETTINGS_FILE
from service.fronts import is_feasible
from service.handout import settled
from service.record import Record
from service.studies import Studies
from storage import leases
from storage.artifacts import Artifacts

Floats = NDArray[np.float64]

COUNTED = 10**8
"""Accelerators of the largest space in which those that fit are counted; it takes a few seconds."""

_NETWORK = "network."
"""Prefix of the network's tensors in a checkpoint of a training."""


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        name: Shown to people: `trial 17 of digits`, or the file.
        settings: The trial's, with its parameters and its accelerator in place.
        weights: Tensors of its layers.
        seed: Of random input coding.
    """

    name: str
    settings: Study
    weights: dict[str, Tensor]
    seed: int


def trained_trial(record: Record, artifacts: Path, study: str, number: int) -> Trained:
    """The network of a complete trial.

    Args:
        record: The open database.
        artifacts: Folder of the artifact store.
        study: Its name.
        number: The trial's number.

    Raises:
        NotFound: There is no such study or trial, or it is not complete.
        ArtifactError: The stored weights are missing, torn or altered.
    """
    studies = Studies(record)
    trial, spec = studies.trial(study, number), studies.spec(study)
    stored = studies.weights_of(study, number)
    if stored is None or trial["details"] is None:
        raise NotFound(f"trial {number} of {study!r} is {trial['state']}; only a complete trial has a network")
    settings = settled(spec.resolve(trial["params"]), trial["details"])
    weights = checkpoint.load_tensors(Artifacts(artifacts).read(*stored))
    return Trained(f"trial {number} of {study}", settings, weights, trial["attributes"]["seed"])


def trained_file(path: Path, seed: int | None) -> Trained:
    """The network of a `.safetensors` file: exported weights, or a checkpoint of a training, beside its settings.

    Args:
        path: The file; `settings.json`, as `export --trial` writes it, lies in the same folder.
        seed: Of random input coding; None for the exported one, or 0 where none was exported.

    Raises:
        NotFound: There is no such file, or no settings beside it.
        CheckpointError: It is torn or altered.
        SpecError: The settings are not valid.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(f"{path}: cannot be read: {error.strerror}; give the path of a .safetensors file") from error
    weights = checkpoint.load_tensors(data)
    if any(name.startswith(_NETWORK) for name in weights):
        tensors, _ = checkpoint.load(data)
        weights = {name.removeprefix(_NETWORK): part for name, part in tensors.items() if name.startswith(_NETWORK)}
    return Trained(str(path), _settings_beside(path), weights, _seed_beside(path) if seed is None else seed)


def record_activity(trained: Trained, data: Path, images: int | None = None) -> Activity:
    """What a network does on the validation images of its data set, with the input coding of its accelerator.

    Args:
        trained: The network.
        data: Folder of the data sets.
        images: The first so many; None for all, as a trial is scored.

    Raises:
        CheckpointError: The weights are of another network.
        DatasetError: The data set is missing or corrupted.
    """
    settings = trained.settings
    dataset = load_dataset(settings.dataset, data)
    network, valid = _network(trained, dataset.info), dataset.validation
    encoding = "rate" if settings.accelerator.input == "rate" else settings.encoding
    with _one_thread():
        return record(network, valid.images[:images], valid.labels[:images], encoding=encoding, seed=trained.seed)


@dataclass(frozen=True, eq=False)
class Sweep:
    """The accelerators that a network's layers can be built into.

    Attributes:
        accelerator: The one the network came with.
        activity: Spikes at each layer's input, by which points are simulated.
        front: The exact front of those that fit.
        fit: How many fit the device and the budget, on the front or not; None in a space too large to count them.
    """

    accelerator: Accelerator
    activity: Activity
    front: HardwareFront
    fit: int | None

    def own(self) -> dict[str, Any]:
        """The network's own accelerator as a row; it need not fit."""
        return self._row(None, self.accelerator)

    def rows(self, limit: int) -> list[dict[str, Any]]:
        """The trade-off between latency and energy, the fastest first; of more than `limit` an even choice."""
        points = self.front.trade_off()
        chosen = points[np.unique(np.linspace(0, len(points) - 1, min(limit, len(points))).round().astype(int))]
        return [self.row(int(index)) for index in chosen]

    def best(self) -> dict[Report, dict[str, Any]]:
        """The row of the best point for each report; FPS/W is left out where the device's static power is unknown.

        Raises:
            AcceleratorError: Nothing fits; the message says what is short.
        """
        names: tuple[Report, ...] = ("min_latency", "max_fps_per_watt")
        return {
            name: self.row(self.front.best(name)) for name in names if name == "min_latency" or self.is_energy_known
        }

    @property
    def is_energy_known(self) -> bool:
        """Whether the device's static power is known."""
        return self.front.energy_j is not None

    def row(self, index: int) -> dict[str, Any]:
        """A point of the front: what it is built of, and its figures from a simulation."""
        return self._row(index, self.front.build(index))

    def report(self, name: Report) -> dict[str, Any]:
        """Everything about the best point for a report.

        Raises:
            AcceleratorError: Nothing fits.
            DeviceError: FPS/W is asked for and the device's static power is unknown.
        """
        return simulate(self.front.build(self.front.best(name)), self.activity.counts).report()

    def document(self, limit: int) -> dict[str, Any]:
        """Plain values for JSON: own accelerator, at most `limit` rows of the trade-off, the best, the whole front.

        Raises:
            AcceleratorError: Nothing fits; the message says what is short.
        """
        return {
            "swept": self.front.swept,
            "fit": self.fit,
            "points": len(self.front),
            "own": self.own(),
            "trade_off": self.rows(limit),
            "best": self.best(),
            "front": self.front.document(),
        }

    def _row(self, point: int | None, accelerator: Accelerator) -> dict[str, Any]:
        """`point` is the place in the front; a share is None where something is occupied and the device has none."""
        simulation = simulate(accelerator, self.activity.counts)
        resources, device = simulation.resources, accelerator.device
        shares = {part: resources.share(device, part) for part in PARTS}
        return {
            "point": point,
            "is_own": accelerator.layers == self.accelerator.layers,
            "fits": all(getattr(resources, part) <= most for part, most in self.front.limits.items()),
            "neural_cores": [core.cores for core in accelerator.layers],
            "encoder_widths": [getattr(core, "penc", None) for core in accelerator.layers],
            "latency_ms": simulation.latency_ms,
            "latency_p95_ms": float(np.percentile(simulation.latency_s, 95)) * 1e3,
            "fps_per_watt": simulation.fps_per_watt if self.is_energy_known else None,
            "energy_uj": float(simulation.energy_j.mean()) * 1e6 if self.is_energy_known else None,
            "hazards": sum(simulation.hazards.values()),
            **asdict(resources),
            "utilisation": {part: share if math.isfinite(share) else None for part, share in shares.items()},
        }


def swept(
    trained: Trained, activity: Activity, *, budget: Mapping[str, float], encoder_divisors: Sequence[int]
) -> Sweep:
    """Every accelerator that a network's layers can be built into, reduced to the exact front of those that fit.

    Args:
        trained: The network, whose own accelerator gives device, clock, mode and schedule.
        activity: From `record_activity`.
        budget: Most of each part; without a limit, what the device has.
        encoder_divisors: As `full_space` takes them.

    Raises:
        AcceleratorError: The budget names an unknown part, or the accelerator cannot be swept.
        DeviceError: How much of an occupied part the device holds is unknown.
    """
    accelerator = accelerator_of(trained.settings)
    space = full_space(accelerator, encoder_divisors=encoder_divisors)
    front = sweep(accelerator, activity.counts, space, budget=budget)
    return Sweep(accelerator, activity, front, _fitting(accelerator, space, front.limits))


def front_csv(front: HardwareFront) -> str:
    """Every point of a front as CSV, the fastest first; unknown energies have no column, absent encoders no value."""
    layers = [core.name for core in front.accelerator.layers]
    columns: dict[str, Iterable[Any]] = {}
    for layer, name in enumerate(layers):
        columns[f"cores {name}"] = front.neural_cores[:, layer]
    for layer, name in enumerate(layers):
        columns[f"encoder {name}"] = [width or "" for width in front.encoder_widths[:, layer]]
    columns |= {"latency_ms": front.latency_s * 1e3, "interval_ms": front.interval_s * 1e3}
    if front.energy_j is not None:
        columns |= {"energy_uj": front.energy_j * 1e6, "fps_per_watt": 1 / front.energy_j}
    columns |= {part: getattr(front, part) for part in PARTS}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _fitting(accelerator: Accelerator, space: SweepSpace, limits: Mapping[str, float]) -> int | None:
    """How many accelerators of a space are within the limits; None where it is larger than `COUNTED`.

    Sums over half of the layers meet sums over the other half, so millions are counted by thousands.
    """
    if space.size > COUNTED:
        return None
    layers = [
        np.array([[getattr(layer_resources(core, accelerator), part) for part in PARTS] for core in cores])
        for cores in layer_cores(accelerator, space)
    ]
    some, others = (reduce(_sums, layers[start::2], np.zeros((1, len(PARTS)))) for start in (0, 1))
    rooms = np.array([limits[part] for part in PARTS]) - some
    holds_all = (rooms >= others.max(axis=0)).all(axis=1)
    return int(holds_all.sum()) * len(others) + sum(
        int((others <= room).all(axis=1).sum()) for room in rooms[~holds_all]
    )


def _sums(left: Floats, right: Floats) -> Floats:
    """Every row of one with every row of the other."""
    return (left[:, None] + right).reshape(-1, left.shape[1])


@dataclass(frozen=True)
class Sensitivity:
    """How a study's front changes with the constants of the power model.

    Attributes:
        study: Its name.
        trials: Complete, feasible trials.
        size: Points of the front as it is.
        changes: One for each pair of factors.
    """

    study: str
    trials: int
    size: int
    changes: Sequence[Change]

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        changes = [vars(change) for change in self.changes]
        return {"study": self.study, "trials": self.trials, "front_size": self.size, "changes": changes}

    def summary(self) -> str:
        """One sentence."""
        stay = min(change.stay for change in self.changes)
        leave, enter = (max(getattr(change, way) for change in self.changes) for way in ("leave", "enter"))
        if leave == enter == 0:
            return f"The front stays the same in all {len(self.changes)} cases."
        return f"Of {self.size} points at least {stay} stay; at most {leave} leave and {enter} enter."


def study_sensitivity(record: Record, study: str) -> Sensitivity:
    """How many points of a study's front change when static power and event energies move by half.

    Raises:
        NotFound: There is no such study, or no feasible trial in it.
        UsageError: A trial was stored without the accelerator's report.
        DeviceError: A report has no energy.
    """
    row, spec = Studies(record).row(study), Studies(record).spec(study)
    trials = [trial for trial in record.trials(row.study_id) if is_feasible(trial)]
    if not trials:
        raise NotFound(f"study {study!r} has no complete and feasible trial yet; `spikefront show {study}` lists all")
    splits = [split_of(report) for report in _reports(record, trials)]
    values = [dict(zip(spec.objectives, trial.values, strict=True)) for trial in trials]
    changes = sensitivity(splits, values, {name: OBJECTIVES[name] for name in spec.objectives})
    unmoved = next(change for change in changes if change.static_factor == change.events_factor == 1)
    return Sensitivity(study, len(trials), unmoved.size, changes)


def _reports(record: Record, trials: Sequence[FrozenTrial]) -> Iterator[dict[str, Any]]:
    """The stored hardware report of each trial."""
    with record.engine.connect() as connection:
        results = leases.results(connection, [trial._trial_id for trial in trials])
    for trial in trials:
        report = results.get(trial._trial_id, {}).get("details", {}).get("hardware")
        if report is None:
            raise UsageError(f"trial {trial.number} has no hardware report, which the energies would come from")
        yield report


def _settings_beside(path: Path) -> Study:
    file = path.parent / SETTINGS_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise NotFound(
            f"{path}: there is no readable {SETTINGS_FILE} beside it to say which network it is; "
            f"write both with: spikefront export STUDY --trial N --output FOLDER"
        ) from error
    try:
        return Study.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise SpecError(f"{file}: {'.'.join(map(str, first['loc'])) or 'the file'}: {problem(first)}") from error


def _seed_beside(path: Path) -> int:
    try:
        return int(json.loads((path.parent / SCORES_FILE).read_text(encoding="utf-8"))["seed"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(f"{path.parent / SCORES_FILE}: has no readable seed ({error}); give --seed") from error


def _network(trained: Trained, info: DatasetInfo) -> SpikingNetwork:
    network = build_network(trained.settings, info, trained.seed)
    try:
        network.load_state_dict(trained.weights)
    except RuntimeError as error:  # torch: names or shapes differ
        raise CheckpointError(
            f"{trained.name}: the weights do not fit the network {trained.settings.network} of its settings; "
            f"give the settings of the same trial"
        ) from error
    return network


@contextmanager
def _one_thread() -> Iterator[None]:
    """As a worker scores: with other threads sums are taken in another order, and a spike at the threshold may fall."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
