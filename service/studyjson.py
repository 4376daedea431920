"""One study as a JSON document, exact to the last bit: for archives, for other programs, for another database.

Checkpoints and trained networks are not part of it; of these a document has the hashes.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from optuna.distributions import json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NaiveDatetime, ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from objectives.spec import Study
from service.errors import Conflict, UsageError
from service.record import Record
from service.studies import Studies
from storage import studies, transfer
from storage.engine import first_line
from storage.history import frozen_trials
from storage.trials import CONSTRAINT


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Lease(_Part):
    """Who worked on a trial last."""

    task: Literal["train", "test"]
    worker: str
    fence: Annotated[int, Field(gt=0)]
    seed: int
    epochs: int
    epoch: int
    accuracy: float | None
    leased_at: AwareDatetime
    expires_at: AwareDatetime
    ended_at: AwareDatetime | None


class Epoch(_Part):
    """A point of a learning curve."""

    epoch: int
    loss: float
    accuracy: float
    seconds: float


class Rung(_Part):
    """Values at a rung and what was decided there."""

    rung: int
    epoch: int
    fence: int
    values: dict[str, float]
    decision: str
    reason: str
    at: AwareDatetime


class Result(_Part):
    """What a complete trial has beside its values."""

    details: dict[str, Any]
    on_baseline_accelerator: dict[str, Any] | None
    weights_sha256: str
    weights_fence: int
    test: dict[str, Any] | None
    test_error: str | None
    at: AwareDatetime


class Trial(_Part):
    """A trial; `started` and `ended` are UTC, as Optuna stores them."""

    number: int
    state: Literal["RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING"]
    started: NaiveDatetime | None
    ended: NaiveDatetime | None
    params: dict[str, Any]
    distributions: dict[str, dict[str, Any]]
    values: list[float] | None
    constraints: dict[str, float]
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]
    intermediate_values: dict[int, float]
    lease: Lease | None
    curve: list[Epoch]
    rungs: list[Rung]
    result: Result | None

    def frozen(self) -> FrozenTrial:
        """The trial as Optuna knows it.

        Raises:
            ValueError: Its parts contradict each other.
        """
        constraints = {CONSTRAINT + name: value for name, value in self.constraints.items()}
        trial = FrozenTrial(
            number=self.number,
            state=TrialState[self.state],
            value=None,
            values=self.values,
            datetime_start=self.started,
            datetime_complete=self.ended,
            params=self.params,
            distributions={
                name: json_to_distribution(json.dumps(domain)) for name, domain in self.distributions.items()
            },
            user_attrs=self.user_attrs,
            system_attrs=self.system_attrs | constraints,
            intermediate_values=self.intermediate_values,
            trial_id=-1,
        )
        trial._validate()
        return trial


class Event(_Part):
    """An event of a study."""

    number: int | None
    kind: str
    message: str
    at: AwareDatetime


class StudyPart(_Part):
    """The study itself."""

    name: str
    spec: dict[str, Any]
    frozen_hash: str
    state: Literal["running", "paused", "stopped", "complete"]
    reason: str
    floor: float
    reference: dict[str, float] | None
    versions: dict[str, str]
    created_at: AwareDatetime
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]


class StudyDocument(_Part):
    """A study with all its trials."""

    format: Literal["spikefront study 1"] = "spikefront study 1"
    spikefront: str
    study: StudyPart
    trials: list[Trial]
    events: list[Event]


# --- out -------------------------------------------------------------------------------------------------------------


def export_text(record: Record, name: str) -> str:
    """A study as JSON, as it is at one moment; the same study gives the same text.

    Raises:
        NotFound: There is no such study.
    """
    Studies(record).row(name)
    with record.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        document = _document(connection, name)
    return json.dumps(document.model_dump(mode="json"), indent=1) + "\n"


def _document(connection: Connection, name: str) -> StudyDocument:
    row = studies.by_name(connection, name)
    assert row is not None
    stored = {key: value for key, value in vars(row).items() if key not in ("study_id", "server_fence")}
    rows = {table: transfer.trial_rows(connection, table, row.study_id) for table in transfer.TRIAL_TABLES}
    trials = frozen_trials(connection, transfer.trial_ids(connection, row.study_id))
    return StudyDocument.model_validate(
        {
            "spikefront": version("spikefront"),
            "study": stored | transfer.study_attrs(connection, row.study_id),
            "trials": [
                _trial(trial, {table: by_id.get(trial._trial_id, []) for table, by_id in rows.items()})
                for trial in trials
            ],
            "events": transfer.event_rows(connection, row.study_id),
        }
    )


def _trial(trial: FrozenTrial, rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    constraints = {key: value for key, value in trial.system_attrs.items() if key.startswith(CONSTRAINT)}
    return {
        "number": trial.number,
        "state": trial.state.name,
        "started": trial.datetime_start,
        "ended": trial.datetime_complete,
        "params": trial.params,
        "distributions": {
            name: {"name": type(domain).__name__, "attributes": domain._asdict()}
            for name, domain in trial.distributions.items()
        },
        "values": trial.values,
        "constraints": {key.removeprefix(CONSTRAINT): value for key, value in sorted(constraints.items())},
        "user_attrs": dict(sorted(trial.user_attrs.items())),
        "system_attrs": {key: trial.system_attrs[key] for key in sorted(trial.system_attrs.keys() - constraints)},
        "intermediate_values": trial.intermediate_values,
        "curve": rows["curve"],
        "rungs": rows["rungs"],
        **{table: rows[table][0] if rows[table] else None for table in ("lease", "result")},
    }


# --- in --------------------------------------------------------------------------------------------------------------


def read_document(file: Path, name: str | None = None) -> StudyDocument:
    """A study from a file, checked, under another name if wanted.

    Raises:
        UsageError: The file cannot be read, or a field of it is not valid; it is named.
    """
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file}: not valid JSON: {error}") from error
    try:
        document = StudyDocument.model_validate(plain)
    except ValidationError as error:
        raise UsageError(f"{file}: {_first(error)}") from error
    return _checked(file, document, name or document.study.name)


def _checked(file: Path, document: StudyDocument, name: str) -> StudyDocument:
    spec = {**document.study.spec, "study": name}
    try:
        study = Study.model_validate_json(json.dumps(spec))
    except ValidationError as error:
        raise UsageError(f"{file}: study.spec.{_first(error)}") from error
    if study.frozen_hash() != document.study.frozen_hash:
        raise UsageError(f"{file}: study.frozen_hash: not that of study.spec; it was altered, export the study again")
    for number, trial in enumerate(document.trials):
        if trial.number != number:
            raise UsageError(f"{file}: trials.{number}.number: expected {number}, got {trial.number}")
        if trial.values is not None and len(trial.values) != len(study.objectives):
            raise UsageError(f"{file}: trials.{number}.values: expected {len(study.objectives)} values")
        try:
            trial.frozen()
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{file}: trials.{number}: {error}") from error
    renamed = document.study.model_copy(update={"name": name, "spec": spec})
    return document.model_copy(update={"study": renamed})


def import_study(record: Record, document: StudyDocument) -> None:
    """Create a checked study with all that its document holds, in one transaction.

    Raises:
        Conflict: A study of this name exists.
    """
    name = document.study.name
    try:
        with record.engine.begin() as connection:
            if transfer.is_taken(connection, name):
                raise Conflict(f"a study {name!r} exists here; give another name with --as NAME")
            _write(connection, document)
    except IntegrityError as error:
        raise Conflict(
            f"study {name!r} is not imported: {first_line(error)}; made here meanwhile, or a row is in the file twice"
        ) from error


def _write(connection: Connection, document: StudyDocument) -> None:
    stored = document.study.model_dump()
    attrs = {kind: stored.pop(kind) for kind in ("user_attrs", "system_attrs")}
    directions = Study.model_validate_json(json.dumps(stored["spec"])).directions
    study_id = transfer.add_optuna_study(connection, stored["name"], directions, attrs)
    studies.add(connection, {"study_id": study_id, **stored})
    ids = transfer.add_trials(connection, study_id, [trial.frozen() for trial in document.trials])
    for table in transfer.TRIAL_TABLES:
        rows = []
        for trial_id, trial in zip(ids, document.trials, strict=True):
            own = getattr(trial, table)
            parts = own if isinstance(own, list) else [own] if own is not None else []
            extra = {"study_id": study_id} if table == "lease" else {}
            rows += [{"trial_id": trial_id, **extra, **part.model_dump()} for part in parts]
        transfer.add_trial_rows(connection, table, rows)
    transfer.add_event_rows(connection, study_id, [event.model_dump() for event in document.events])


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
