"""Study and event rows of the schema `spikefront`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert

from storage.statement import Statement, Writes
from storage.tables import event, study


@dataclass(frozen=True)
class StudyRow:
    """One row of the study table; `spec` is the study file as plain values.

    Attributes:
        server_fence: Rises by one with every server that takes the study over to hand its trials out.
    """

    study_id: int
    name: str
    spec: dict[str, Any]
    frozen_hash: str
    state: str
    reason: str
    floor: float
    reference: dict[str, float] | None
    versions: dict[str, str]
    created_at: datetime
    server_fence: int

    @cached_property
    def settings(self) -> str:
        """`spec` as text: equal for equal settings."""
        return json.dumps(self.spec)


COLUMNS = [study.c[name] for name in StudyRow.__dataclass_fields__]
NAMES = [f"study.{name}" for name in StudyRow.__dataclass_fields__]
"""The columns of a `StudyRow` and their names, for statements that read a study beside something else."""

# What every trial needs is put together once. Who only refers to a study, as every event does, need not wait for one
# who holds it: therefore NO KEY.
_BY_NAME = select(*COLUMNS).where(study.c.name == bindparam("wanted"))
_BY_NAME_LOCKED = Statement(f"""
SELECT {", ".join(NAMES)} FROM spikefront.study JOIN public.studies USING (study_id)
WHERE study.name = :wanted FOR NO KEY UPDATE
""")
_BY_ID = select(*COLUMNS).where(study.c.study_id == bindparam("wanted"))
_ADD_EVENT = Statement(
    "INSERT INTO spikefront.event (study_id, kind, message, number) VALUES (:study_id, :kind, :message, :number)"
)


def add(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Insert a study unless its row exists; tells whether it was new."""
    inserted = connection.execute(insert(study).values(row).on_conflict_do_nothing().returning(study.c.study_id))
    return inserted.one_or_none() is not None


def by_name(connection: Connection, name: str, *, lock: bool = False) -> StudyRow | None:
    """A study by its name.

    With `lock` its row and Optuna's are held until the transaction ends: nobody else changes it or creates trials.
    """
    wanted = {"wanted": name}
    found = _BY_NAME_LOCKED.rows(connection, wanted) if lock else connection.execute(_BY_NAME, wanted).all()
    return StudyRow(*found[0]) if found else None


def by_id(connection: Connection, study_id: int) -> StudyRow:
    """A study by Optuna's id."""
    return StudyRow(*connection.execute(_BY_ID, {"wanted": study_id}).one())


def all_studies(connection: Connection) -> list[StudyRow]:
    """Every study, the oldest first."""
    return [StudyRow(*row) for row in connection.execute(select(*COLUMNS).order_by(study.c.study_id))]


def update(connection: Connection, study_id: int, **values: Any) -> None:
    """Change columns of a study."""
    connection.execute(study.update().where(study.c.study_id == study_id).values(values))


@dataclass(frozen=True)
class Event:
    """Something that happened to a study, in the words shown to people."""

    event_id: int
    number: int | None
    kind: str
    message: str
    at: datetime


def add_event(connection: Writes, study_id: int, kind: str, message: str, number: int | None = None) -> None:
    """Append to the study's log."""
    row = {"study_id": study_id, "kind": kind, "message": message, "number": number}
    _ADD_EVENT.write(connection, row)


def events(connection: Connection, study_id: int, *, after: int = 0, limit: int = 200) -> list[Event]:
    """The newest `limit` events with an id above `after`, oldest first."""
    columns = [event.c[name] for name in Event.__dataclass_fields__]
    query = select(*columns).where(event.c.study_id == study_id, event.c.event_id > after)
    rows = connection.execute(query.order_by(event.c.event_id.desc()).limit(limit))
    return [Event(*row) for row in rows][::-1]


def last_event_id(connection: Connection, study_id: int) -> int:
    """Id of the study's newest event; 0 when there is none."""
    return int(connection.scalar(select(func.max(event.c.event_id)).where(event.c.study_id == study_id)) or 0)
