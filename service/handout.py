"""Hand out work: take over what expired, create what the budget allows, test the front, end the study."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import Connection

from objectives.acceleratorspec import ChosenAccelerator
from objectives.space import Params, grid_size
from objectives.spec import Study
from service import lease as machine
from service import versions, wire
from service.errors import Conflict, NotFound, Unavailable
from service.fronts import baseline_of, feasible_front
from service.leasing import lease_of, with_lease
from service.metrics import Metrics
from service.pacing import Pacing
from service.record import Record
from service.samplers import Mirror, training_seed
from storage import leases, studies, trials
from storage.history import frozen_trials, sampled_trials
from storage.leases import LeaseRow
from storage.ownership import Ownership
from storage.studies import StudyRow
from storage.trials import Sighting, Suggestion, TrialKey


@dataclass
class _Open:
    """A study as its sampler sees it, valid while settings and server fence are the stored ones.

    Attributes:
        next_expiry: When its next lease runs out [s], on this process's monotonic clock; infinite without any.
    """

    settings: str
    server_fence: int
    spec: Study
    mirror: Mirror
    next_expiry: float = math.inf


@dataclass(frozen=True)
class _Scene:
    """A locked study as it is now: its mirror, up to date, its trials that are not finished, the database's clock.

    Attributes:
        has_expired: Whether a lease has expired.
    """

    opened: _Open
    unfinished: list[Sighting]
    now: datetime
    has_expired: bool

    @property
    def waiting(self) -> TrialKey | None:
        """The oldest enqueued trial."""
        keys = [TrialKey(seen.trial_id, seen.number) for seen in self.unfinished if seen.state is TrialState.WAITING]
        return keys[0] if keys else None


@dataclass(frozen=True)
class _Granted:
    """A lease as it is stored, and what its worker is to know."""

    row: StudyRow
    lease: LeaseRow
    number: int
    params: Params
    checkpoints: tuple[wire.Blob, ...] = ()
    weights: wire.Blob | None = None
    accelerator: ChosenAccelerator | None = None


class Handout:
    """Answers workers that ask for something to do.

    Args:
        record: The open database.
        metrics: Told what is handed out.
        ownership: The studies that are this server's to hand out.
        lease_s: Lease time in seconds.
        checkpoint_s: Least time between two checkpoints of a trial, in seconds.
    """

    def __init__(
        self, record: Record, metrics: Metrics, ownership: Ownership, *, lease_s: float, checkpoint_s: float
    ) -> None:
        self._record, self._metrics, self._ownership = record, metrics, ownership
        self._reading = record.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._ttl = timedelta(seconds=lease_s)
        self._checkpoint_s = checkpoint_s
        self._open: dict[int, _Open] = {}
        self._one_at_a_time = threading.Lock()
        self._pacing = Pacing()

    def lease(self, request: wire.LeaseRequest) -> wire.Lease | wire.Idle:
        """The next thing to do for a worker, from the oldest study that has some.

        Raises:
            NotFound: The study named in the request does not exist.
            Conflict: The worker's versions differ from those that every running study wants.
        """
        asked = self._opened(request.study)
        if asked is not None and (work := self._work_of(*asked, request)) is not None:
            return work
        rows = self._rows(request.study)
        open_rows = [row for row in rows if row.state == "running"]
        fitting = [row for row in open_rows if not _refusal(row, request)]
        if open_rows and not fitting:
            raise Conflict(_refusal(open_rows[0], request))
        if asked is None:
            for row in fitting:
                if (work := self._work_of(row.study_id, row.name, request)) is not None:
                    return work
            rows = self._rows(request.study)
        finished = request.study is not None and rows[0].state != "running"
        reason = f"{rows[0].state}: {rows[0].reason}" if finished else ""
        next_expiry = min((opened.next_expiry for opened in tuple(self._open.values())), default=math.inf)
        retry_s = self._pacing.wait_s(time.monotonic(), next_expiry)
        return wire.Idle(retry_s=retry_s, finished=finished, reason=reason)

    def _opened(self, name: str | None) -> tuple[int, str] | None:
        """Id and name of a study that this server hands out already: its row need not be read to ask it."""
        newest_first = reversed(tuple(self._open.items()))
        return next(((study_id, name) for study_id, opened in newest_first if opened.spec.study == name), None)

    def _work_of(self, study_id: int, name: str, request: wire.LeaseRequest) -> wire.Lease | None:
        with self._one_at_a_time:
            granted = self._granted(name, request) if self._ownership.has(study_id) else None
        if granted is None:
            return None
        work = self._offer(granted)
        self._metrics.handed_out(_kind(work))
        return work

    def _rows(self, name: str | None) -> list[StudyRow]:
        with self._reading.connect() as connection:
            if name is None:
                return studies.all_studies(connection)
            row = studies.by_name(connection, name)
        if row is None:
            raise NotFound(f"there is no study {name!r}")
        return [row]

    def _granted(self, name: str, request: wire.LeaseRequest) -> _Granted | None:
        study_id = -1
        try:
            with self._record.engine.begin() as connection:
                row = studies.by_name(connection, name, lock=True)
                if row is None or row.state != "running" or _refusal(row, request):
                    return None
                study_id = row.study_id
                row = self._taken(connection, row)
                if row is None:
                    return None
                scene = self._scene(connection, row)
                return (
                    self._take_over(connection, row, scene, request)
                    or self._new_trial(connection, row, scene, request)
                    or self._test_or_end(connection, row, scene, request)
                )
        except BaseException:
            self._open.pop(study_id, None)  # the mirror may be ahead of the rows: the next call builds it anew
            raise

    def _taken(self, connection: Connection, row: StudyRow) -> StudyRow | None:
        """The locked row of a study that this server hands out; None when another one took it over meanwhile."""
        opened = self._open.get(row.study_id)
        if opened is not None and opened.server_fence == row.server_fence:
            return row
        self._open.pop(row.study_id, None)
        if not self._ownership.confirm(row.study_id):
            return None
        taken = replace(row, server_fence=row.server_fence + 1)
        studies.update(connection, row.study_id, server_fence=taken.server_fence)
        return taken

    # --- what expired ------------------------------------------------------------------------------------------

    def _take_over(
        self, connection: Connection, row: StudyRow, scene: _Scene, request: wire.LeaseRequest
    ) -> _Granted | None:
        expired = leases.first_expired(connection, row.study_id) if scene.has_expired else None
        old = expired or self._without_lease(connection, row, scene)
        if old is None:
            return None
        now = leases.now(connection)
        lease = machine.take(lease_of(old), request.worker, now, self._ttl)
        new = replace(with_lease(old, lease, now), leased_at=now)
        leases.write(connection, new)
        (trial,) = frozen_trials(connection, [old.trial_id])
        if old.task == "train":
            stored = leases.checkpoints(connection, old.trial_id)
            start = f"from epoch {stored[0].epoch}" if stored else "from the start"
            text = f"{request.worker} takes trial {trial.number} over from {old.worker}, {start}"
            studies.add_event(connection, row.study_id, "taken over", text, trial.number)
        return self._grant(connection, row, new, trial.number, trial.params)

    def _without_lease(self, connection: Connection, row: StudyRow, scene: _Scene) -> LeaseRow | None:
        """A trial that runs for two lease times without a lease, as another Optuna client leaves it when it dies."""
        stale = {
            seen.trial_id: TrialKey(seen.trial_id, seen.number)
            for seen in scene.unfinished
            if seen.state is TrialState.RUNNING and self._is_stale(seen, scene.now)
        }
        if not stale:
            return None
        for trial_id in leases.without_lease(connection, list(stale)):
            spec = study_of(row)
            seed = training_seed(spec, stale[trial_id].number)
            nobody = machine.Lease("nobody", 1, expires_at=scene.now)
            return _new_row(stale[trial_id], row, "train", nobody, seed, spec.train.epochs, scene.now)
        return None

    def _is_stale(self, seen: Sighting, now: datetime) -> bool:
        return seen.started is None or now - seen.started.replace(tzinfo=UTC) > 2 * self._ttl

    # --- new trials --------------------------------------------------------------------------------------------

    def _new_trial(
        self, connection: Connection, row: StudyRow, scene: _Scene, request: wire.LeaseRequest
    ) -> _Granted | None:
        opened, waiting, now = scene.opened, scene.waiting, scene.now
        if waiting is None and not self._budget_left(connection, row, scene):
            return None
        number = waiting.number if waiting else opened.mirror.known
        fixed = opened.mirror.fixed(number) if waiting else None
        try:
            with self._metrics.suggesting(opened.spec.sampler.name):
                suggestion = opened.mirror.suggest(number, fixed)
            params = suggestion.params
            spec = opened.spec.resolve(params) if waiting else opened.spec  # what people enqueue may not fit
            epochs = int(params.get("train.epochs", spec.train.epochs))
        except (ValueError, TypeError) as error:
            if waiting is None:
                raise
            self._refuse(connection, row, waiting, fixed or {}, error)
            return self._new_trial(connection, row, self._scene(connection, row), request)
        key = self._write_trial(connection, row, suggestion, waiting, number, request)
        opened.mirror.asked(key.trial_id, key.number)
        lease = machine.take(None, request.worker, now, self._ttl)
        new = _new_row(key, row, "train", lease, training_seed(opened.spec, number), epochs, now)
        leases.write(connection, new)
        if waiting is None:
            return _Granted(row, new, number, dict(suggestion.params))
        return self._grant(connection, row, new, number, dict(suggestion.params))

    def _refuse(
        self, connection: Connection, row: StudyRow, key: TrialKey, fixed: dict[str, Any], error: Exception
    ) -> None:
        """An enqueued trial whose parameters do not fit the study fails; the study goes on with the next."""
        self._open.pop(row.study_id, None)
        trials.start_waiting(connection, key, Suggestion({}, {}), {})
        message = f"enqueued trial {key.number} with {json.dumps(fixed)} refused: {error}"
        trials.fail(connection, key.trial_id, {"failure": {"class": type(error).__name__, "message": message}})
        studies.add_event(connection, row.study_id, "failed", message, key.number)

    def _write_trial(
        self,
        connection: Connection,
        row: StudyRow,
        suggestion: Suggestion,
        waiting: TrialKey | None,
        number: int,
        request: wire.LeaseRequest,
    ) -> TrialKey:
        attrs: dict[str, Any] = {"worker": request.worker}
        if versions.differing(row.versions, request.versions):
            attrs["not bit-comparable"] = request.versions
        if waiting is None:
            return trials.create(connection, row.study_id, number, suggestion, attrs)
        if not trials.start_waiting(connection, waiting, suggestion, attrs):
            raise Unavailable(f"trial {number} was started elsewhere meanwhile; ask again")
        return waiting

    def _budget_left(self, connection: Connection, row: StudyRow, scene: _Scene) -> bool:
        spec, created = scene.opened.spec, scene.opened.mirror.known
        if spec.budget.trials is not None and created >= spec.budget.trials:
            return False
        if spec.budget.epochs is not None and leases.trained_epochs(connection, row.study_id) >= spec.budget.epochs:
            return False
        age_s = (scene.now - row.created_at).total_seconds()
        if spec.budget.hours is not None and age_s >= 3600 * spec.budget.hours:
            return False
        is_grid = spec.sampler.name == "grid"
        return not (is_grid and created > (grid_size(spec.search) or 0))  # one more than the grid: the baseline

    def _scene(self, connection: Connection, row: StudyRow) -> _Scene:
        """A locked study as it is now; its mirror is brought up to date with the rows."""
        opened = self._open.get(row.study_id)
        if opened is None or opened.settings != row.settings:
            spec = study_of(row)
            opened = self._open[row.study_id] = _Open(row.settings, row.server_fence, spec, Mirror(spec))
        mirror = opened.mirror
        seen = trials.sightings(connection, row.study_id, mirror.last_id, mirror.open_ids)
        changed = []
        for one in seen.trials:
            if one.number >= mirror.known or (one.state.is_finished() and mirror.learns):
                changed.append(one.trial_id)
            elif one.state.is_finished():
                mirror.close(one.trial_id)
        for trial in sampled_trials(connection, changed) if changed else ():
            mirror.follow(trial)
        left_s = math.inf if seen.next_expiry is None else (seen.next_expiry - seen.now).total_seconds()
        opened.next_expiry = time.monotonic() + left_s
        unfinished = [one for one in seen.trials if not one.state.is_finished()]
        return _Scene(opened, unfinished, seen.now, left_s <= 0)

    # --- the end -----------------------------------------------------------------------------------------------

    def _test_or_end(
        self, connection: Connection, row: StudyRow, scene: _Scene, request: wire.LeaseRequest
    ) -> _Granted | None:
        """With the budget spent and nothing running: score the front on the test set, then complete the study."""
        if scene.unfinished:
            return None
        recorded = self._record.trials(row.study_id)
        points = feasible_front(recorded, study_of(row).objectives)
        baseline = baseline_of(recorded)
        wanted = {trial._trial_id: trial for trial in (*points, *([baseline] if baseline else []))}
        is_tested = {
            trial_id: stored["test"] is not None or stored["test_error"] is not None
            for trial_id, stored in leases.results(connection, list(wanted)).items()
        }
        under_test = {lease.trial_id for lease in leases.of_study(connection, row.study_id)}
        for trial_id in sorted(wanted.keys() - under_test):
            if not is_tested.get(trial_id, True):
                return self._offer_test(connection, row, wanted[trial_id], request)
        if not under_test:
            studies.update(connection, row.study_id, state="complete", reason="the budget is spent")
            count = "1 point" if len(points) == 1 else f"{len(points)} points"
            message = f"complete: {count} on the front, scored on the test set"
            studies.add_event(connection, row.study_id, "complete", message)
        return None

    def _offer_test(
        self, connection: Connection, row: StudyRow, trial: Any, request: wire.LeaseRequest
    ) -> _Granted | None:
        old = leases.locked(connection, trial._trial_id)
        if old is None:
            return None
        now = leases.now(connection)
        again = machine.Lease(old.worker, old.fence, expires_at=now)
        lease = machine.take(again, request.worker, now, self._ttl)
        new = replace(with_lease(old, lease, now), task="test", leased_at=now)
        leases.write(connection, new)
        return self._grant(connection, row, new, trial.number, trial.params)

    # --- what a worker is told ---------------------------------------------------------------------------------

    def _grant(self, connection: Connection, row: StudyRow, lease: LeaseRow, number: int, params: Params) -> _Granted:
        """A lease of a trial that has been trained before, in part or whole."""
        weights, accelerator = None, None
        if lease.task == "test":
            stored = leases.results(connection, [lease.trial_id])[lease.trial_id]
            weights = wire.Blob(fence=stored["weights_fence"], sha256=stored["weights_sha256"])
            accelerator = chosen_by_trial(study_of(row), stored["details"])
        kept = leases.checkpoints(connection, lease.trial_id)
        blobs = tuple(wire.Blob(fence=blob.fence, sha256=blob.sha256) for blob in kept)
        return _Granted(row, lease, number, params, blobs, weights, accelerator)

    def _offer(self, granted: _Granted) -> wire.Lease:
        row, lease = granted.row, granted.lease
        return wire.Lease(
            task="test" if lease.task == "test" else "train",
            study=row.name,
            trial_id=lease.trial_id,
            number=granted.number,
            fence=lease.fence,
            seed=lease.seed,
            ttl_s=self._ttl.total_seconds(),
            checkpoint_s=self._checkpoint_s,
            spec=study_of(row),
            params=granted.params,
            baseline_params=_baseline_params(row.settings),
            checkpoints=granted.checkpoints,
            weights=granted.weights,
            accelerator=granted.accelerator,
        )


def study_of(row: StudyRow) -> Study:
    """The stored settings as a study."""
    return _study(row.settings)


@lru_cache(maxsize=64)
def _study(settings: str) -> Study:
    return Study.model_validate_json(settings)


@lru_cache(maxsize=64)
def _baseline_params(settings: str) -> Params:
    return _study(settings).baseline_params()


def chosen_by_trial(spec: Study, details: Mapping[str, Any]) -> ChosenAccelerator | None:
    """The accelerator that a trial chose on the validation images; None where there was no choice."""
    if spec.accelerator.search is None:
        return None
    return ChosenAccelerator.model_validate_json(json.dumps(details["accelerator_chosen"]))


def settled(settings: Study, details: Mapping[str, Any]) -> Study:
    """A trial's settings with the accelerator it chose in place, where it had a choice."""
    chosen = chosen_by_trial(settings, details)
    return settings if chosen is None else settings.with_accelerator(chosen)


def _kind(work: wire.Lease) -> str:
    if work.task == "test":
        return "test"
    return "new" if work.fence == 1 else "taken over"


def _refusal(row: StudyRow, request: wire.LeaseRequest) -> str:
    """Why the study takes nothing from this worker; empty when it does."""
    differing = versions.differing(row.versions, request.versions)
    if not differing or row.spec["versions"] == "any":
        return ""
    return (
        f"study {row.name!r} wants the versions it began with; this worker has {'; '.join(differing)}: install "
        f"those, or `spikefront resume {row.name} --set versions=any` (results are then marked as not bit-comparable)"
    )


def _new_row(
    key: TrialKey, row: StudyRow, task: str, lease: machine.Lease, seed: int, epochs: int, now: Any
) -> LeaseRow:
    return LeaseRow(
        key.trial_id, row.study_id, task, lease.worker, lease.fence, seed, epochs, 0, None, now, lease.expires_at, None
    )
