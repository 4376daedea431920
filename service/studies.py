"""Use cases around whole studies, shared by the command line and the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.trial import FrozenTrial, TrialState

from objectives.data import describe
from objectives.space import Scalar
from objectives.spec import Study, differences
from objectives.studyfile import changed
from service import versions
from service.errors import Conflict, NotFound, SpecDiffers
from service.fronts import Front, baseline_of, build_front, feasible_front, hypervolume_steps, is_feasible
from service.handout import study_of
from service.hardwarefronts import HardwareFronts
from service.record import Record
from service.reports import FRONT_DIGEST
from storage import leases, studies
from storage import trials as trials_table
from storage.leases import LeaseRow
from storage.studies import Event, StudyRow

METRIC_NAMES = "study:metric_names"
"""System attribute behind `optuna.Study.set_metric_names`, which would warn people of being experimental."""


@dataclass(frozen=True)
class Status:
    """A study at a glance."""

    name: str
    state: str
    reason: str
    asked: int | None
    counts: Mapping[str, int]  # complete, failed, stopped, running, waiting
    feasible: int
    front: Front
    hypervolume_steps: list[tuple[int, float]]
    running: list[dict[str, Any]]
    created_at: datetime
    eta_s: float | None
    last_event: int
    spared: dict[str, int]  # losers at a rung that were trained to their ends, and those of them on the front

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "study": self.name,
            "state": self.state,
            "reason": self.reason,
            "trials": {
                "asked": self.asked,
                "created": sum(self.counts.values()),
                **self.counts,
                "feasible": self.feasible,
            },
            "front_size": len(self.front.points),
            "hypervolume": self.front.hypervolume,
            "hypervolume_steps": self.hypervolume_steps,
            "running": self.running,
            "created_at": self.created_at.isoformat(),
            "eta_s": self.eta_s,
            "last_event": self.last_event,
            "spared": self.spared,
        }


class Studies:
    """Create, look at, stop and resume studies.

    Args:
        record: The open database.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._hardware = HardwareFronts(record)

    def start(self, study: Study) -> bool:
        """Create a study, with its baseline enqueued as trial 0; the same study again is left as it is.

        Returns:
            Whether the study is new.

        Raises:
            SpecDiffers: The name is taken by a study with another frozen part; the message shows the differences.
            Conflict: The name is taken by an Optuna study that spikefront did not make.
        """
        existing = self._row_or_none(study.study)
        if existing is not None:
            self._check_same(existing, study)
            return False
        study_id = self._create_optuna_study(study)
        baseline = study.baseline_params()
        with self._record.engine.begin() as connection:
            is_new = studies.add(
                connection,
                {
                    "study_id": study_id,
                    "name": study.study,
                    "spec": study.model_dump(mode="json", by_alias=True),
                    "frozen_hash": study.frozen_hash(),
                    "state": "running",
                    "floor": study.floor(describe(study.dataset.name).classes),
                    "versions": versions.installed(),
                },
            )
            if is_new:
                trials_table.enqueue(connection, study_id, baseline)
                studies.add_event(connection, study_id, "created", f"study {study.study} created")
        if not is_new:
            return self.start(study)
        return True

    def resume(self, name: str, changes: Mapping[str, Scalar] | None = None) -> Study:
        """Let a stopped, paused or complete study go on, with changed budget, sampler or stopping if wanted.

        Raises:
            NotFound: There is no such study.
            SpecError: A change is not valid, or would change results.
        """
        row = self.row(name)
        study = study_of(row)
        new = changed(study, changes or {})
        with self._record.engine.begin() as connection:
            locked = studies.by_name(connection, name, lock=True)
            assert locked is not None
            if changes:
                words = ", ".join(f"{path} = {value}" for path, value in changes.items())
                studies.update(connection, row.study_id, spec=new.model_dump(mode="json", by_alias=True))
                studies.add_event(connection, row.study_id, "changed", words)
            if locked.state != "running" and (locked.state != "complete" or changes):
                studies.update(connection, row.study_id, state="running", reason="")
                studies.add_event(connection, row.study_id, "resumed", f"resumed, was {locked.state}")
        return new

    def stop(self, name: str) -> None:
        """Stop a study: running trials are saved and handed back, new ones are not created; `resume` goes on.

        Raises:
            NotFound: There is no such study.
            Conflict: It is complete.
        """
        row = self.row(name)
        if row.state == "complete":
            raise Conflict(f"study {name!r} is complete; there is nothing to stop")
        with self._record.engine.begin() as connection:
            studies.update(connection, row.study_id, state="stopped", reason="stopped on request")
            studies.add_event(connection, row.study_id, "stopped", "stopped on request")

    def row(self, name: str) -> StudyRow:
        """The stored study.

        Raises:
            NotFound: There is none of this name; the message offers the nearest one.
        """
        row = self._row_or_none(name)
        if row is None:
            near = get_close_matches(name, self.names(), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "`spikefront studies` lists them"
            raise NotFound(f"there is no study {name!r}; {hint}")
        return row

    def names(self) -> list[str]:
        """Names of all studies, oldest first."""
        with self._record.engine.connect() as connection:
            return [row.name for row in studies.all_studies(connection)]

    def spec(self, name: str) -> Study:
        """A study's settings.

        Raises:
            NotFound: There is none of this name.
        """
        return study_of(self.row(name))

    def front(self, name: str) -> Front:
        """A study's Pareto front, and with its trials' other accelerators where they search them.

        Raises:
            NotFound: There is none of this name.
        """
        row = self.row(name)
        front = self._front(row, self._record.trials(row.study_id))
        points = self.hardware_front(name)
        return front if points is None else replace(front, hardware=tuple(points))

    def hardware_front(self, name: str) -> list[dict[str, Any]] | None:
        """The accelerators worth building over all feasible trials; None where trials search none.

        Raises:
            NotFound: There is none of this name.
        """
        row = self.row(name)
        spec = study_of(row)
        if spec.accelerator.search is None:
            return None
        return self._hardware.of(row.study_id, spec.objectives, self._record.trials(row.study_id))

    def status(self, name: str) -> Status:
        """A study at a glance.

        Raises:
            NotFound: There is none of this name.
        """
        row = self.row(name)
        spec, trials = study_of(row), self._record.trials(row.study_id)
        with self._record.engine.connect() as connection:
            open_leases = leases.of_study(connection, row.study_id)
            now, last_event = leases.now(connection), studies.last_event_id(connection, row.study_id)
            spared = leases.spared(connection, row.study_id) if spec.stopping.name != "none" else set()
        front = self._front(row, trials)
        counts = Counter(_WORDS[trial.state] for trial in trials)
        return Status(
            name=name,
            state=row.state,
            reason=row.reason,
            asked=spec.budget.trials,
            counts={word: counts[word] for word in _WORDS.values()},
            feasible=sum(map(is_feasible, trials)),
            front=front,
            hypervolume_steps=hypervolume_steps(trials, spec.objectives, row.reference),
            running=_running(trials, open_leases, now),
            created_at=row.created_at,
            eta_s=_eta(trials, len(open_leases), spec.budget.trials),
            last_event=last_event,
            spared=_spared(trials, spared, front),
        )

    def trials(self, name: str) -> list[dict[str, Any]]:
        """Every trial of a study as plain values, in the order of the numbers.

        Raises:
            NotFound: There is none of this name.
        """
        row = self.row(name)
        objectives = study_of(row).objectives
        return [_trial_document(trial, objectives) for trial in self._record.trials(row.study_id)]

    def trial(self, name: str, number: int) -> dict[str, Any]:
        """One trial with its learning curve, rungs, leases and hardware report.

        Raises:
            NotFound: There is no such study or trial.
        """
        row = self.row(name)
        trials = self._record.trials(row.study_id)
        if not 0 <= number < len(trials):
            raise NotFound(f"study {name!r} has no trial {number}; it has {len(trials)} so far")
        trial = trials[number]
        with self._record.engine.connect() as connection:
            stored = leases.results(connection, [trial._trial_id]).get(trial._trial_id, {})
            curve = leases.curve(connection, trial._trial_id)
            rungs = leases.rungs(connection, trial._trial_id)
        kept = ("test_error", "on_baseline_accelerator", "details")
        return {
            **_trial_document(trial, study_of(row).objectives),
            "curve": curve,
            "rungs": [{key: rung[key] for key in ("rung", "epoch", "values", "decision", "reason")} for rung in rungs],
            "test": (stored.get("test") or {}).get("values"),
            **{key: stored.get(key) for key in kept},
        }

    def weights_of(self, name: str, number: int) -> tuple[int, int, str] | None:
        """Where a trial's trained network is kept: trial id, fence, digest; None when it has none.

        Raises:
            NotFound: There is no such study.
        """
        stored = self._result(name, number)
        return None if stored is None else (stored["trial_id"], stored["weights_fence"], stored["weights_sha256"])

    def hardware_front_of(self, name: str, number: int) -> tuple[int, int, str] | None:
        """Where the accelerators that a trial tried are kept: trial id, fence, digest; None when it tried none.

        Raises:
            NotFound: There is no such study.
        """
        stored = self._result(name, number)
        if stored is None or FRONT_DIGEST not in stored["details"]:
            return None
        return stored["trial_id"], stored["weights_fence"], stored["details"][FRONT_DIGEST]

    def events(self, name: str, after: int = 0, limit: int = 200) -> list[Event]:
        """The newest events of a study, oldest first.

        Raises:
            NotFound: There is none of this name.
        """
        row = self.row(name)
        with self._record.engine.connect() as connection:
            return studies.events(connection, row.study_id, after=after, limit=limit)

    def _result(self, name: str, number: int) -> dict[str, Any] | None:
        trials = self._record.trials(self.row(name).study_id)
        with self._record.engine.connect() as connection:
            stored = leases.results(connection, [trial._trial_id for trial in trials if trial.number == number])
        return next(iter(stored.values()), None)

    def _front(self, row: StudyRow, trials: list[FrozenTrial]) -> Front:
        objectives, first = study_of(row).objectives, baseline_of(trials)
        on_front = feasible_front(trials, objectives)
        shown = [trial._trial_id for trial in (*on_front, *([first] if first else []))]
        with self._record.engine.connect() as connection:
            results = leases.results(connection, shown)
        return build_front(row.name, objectives, on_front, first, results, row.reference)

    def _row_or_none(self, name: str) -> StudyRow | None:
        with self._record.engine.connect() as connection:
            return studies.by_name(connection, name)

    def _check_same(self, row: StudyRow, study: Study) -> None:
        if row.frozen_hash != study.frozen_hash():
            found = "; ".join(differences(study_of(row), study))
            raise SpecDiffers(
                f"study {study.study!r} exists with other settings ({found}); give the new one another name, "
                f"or go on with the old one: spikefront resume {study.study}"
            )

    def _create_optuna_study(self, study: Study) -> int:
        try:
            created = optuna.create_study(
                storage=self._record.optuna, study_name=study.study, directions=list(study.directions)
            )
        except DuplicatedStudyError:  # ours, half-made by a start that was killed, or somebody else's
            created = optuna.load_study(study_name=study.study, storage=self._record.optuna)
            directions = [direction.name.lower() for direction in created.directions]
            is_foreign = created.get_trials(deepcopy=False) or directions != list(study.directions)
            if is_foreign and self._row_or_none(study.study) is None:  # with a row it is ours, started meanwhile
                raise Conflict(
                    f"an Optuna study {study.study!r} exists here that spikefront did not make; use another name"
                ) from None
        self._record.optuna.set_study_system_attr(created._study_id, METRIC_NAMES, list(study.objectives))
        return created._study_id


_WORDS = {
    TrialState.COMPLETE: "complete",
    TrialState.FAIL: "failed",
    TrialState.PRUNED: "stopped",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def _running(trials: list[FrozenTrial], open_leases: list[LeaseRow], now: datetime) -> list[dict[str, Any]]:
    numbers = {trial._trial_id: trial for trial in trials}
    return [
        {
            "trial": numbers[lease.trial_id].number,
            "task": lease.task,
            "worker": lease.worker,
            "attempt": lease.fence,
            "epoch": lease.epoch,
            "epochs": lease.epochs,
            "accuracy": lease.accuracy,
            "seconds": (now - lease.leased_at).total_seconds(),
            "expired": now >= lease.expires_at,
        }
        for lease in open_leases
        if lease.trial_id in numbers
    ]


def _spared(trials: list[FrozenTrial], spared: set[int], front: Front) -> dict[str, int]:
    ended = {trial.number for trial in trials if trial._trial_id in spared and trial.state is TrialState.COMPLETE}
    return {"complete": len(ended), "on_front": len(ended & {point["trial"] for point in front.points})}


def _eta(trials: list[FrozenTrial], workers: int, asked: int | None) -> float | None:
    """Seconds until the budget of trials is spent, from the last 20 trials; None without a budget of trials."""
    done = [trial for trial in trials if trial.datetime_complete and trial.datetime_start][-20:]
    if asked is None or not done or not workers:
        return None
    seconds = [(trial.datetime_complete - trial.datetime_start).total_seconds() for trial in done]  # type: ignore[operator]
    ended = sum(trial.state.is_finished() for trial in trials)
    return max(0.0, (asked - ended) * sum(seconds) / len(seconds) / workers)


def _trial_document(trial: FrozenTrial, objectives: tuple[str, ...]) -> dict[str, Any]:
    values = None if trial.values is None else dict(zip(objectives, trial.values, strict=True))
    started, ended = trial.datetime_start, trial.datetime_complete
    return {
        "trial": trial.number,
        "state": _WORDS[trial.state],
        "params": dict(trial.params),
        "values": values,
        "feasible": is_feasible(trial) if values else None,
        "constraints": dict(trial.constraints),
        "seconds": (ended - started).total_seconds() if started and ended else None,
        "attributes": dict(trial.user_attrs),
    }
