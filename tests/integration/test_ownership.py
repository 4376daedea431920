"""Several servers on one database: one of them hands a study out, the others stand by."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from service import wire
from storage.ownership import LOCK_CLASS
from tests.support.desk import Desk, opened
from tests.support.postgres import eventually
from tests.support.studies import make_study

LEASE_S = 2.0


@contextmanager
def two_desks(url: str, folder: Path) -> Iterator[tuple[Desk, Desk]]:
    with ExitStack() as stack:
        first, second = (stack.enter_context(opened(url, folder / "artifacts", lease_s=LEASE_S)) for _ in range(2))
        first.studies.start(make_study("tiny", budget={"trials": 9}))
        yield first, second


def owners(desk: Desk) -> int:
    """Sessions that hold the lock of a study."""
    query = text("SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = :key AND granted")
    with desk.record.engine.connect() as connection:
        return int(connection.scalar(query, {"key": LOCK_CLASS}) or 0)


def test_one_server_hands_out_and_the_other_stands_by(url: str, tmp_path: Path) -> None:
    with two_desks(url, tmp_path) as (first, second):
        first.lease()

        offer = second.ask()

        assert isinstance(offer, wire.Idle)
        assert not offer.finished
        assert owners(first) == 1


def test_a_server_that_ends_leaves_its_studies_to_the_next_at_once(url: str, tmp_path: Path) -> None:
    with two_desks(url, tmp_path) as (first, second):
        first.lease()
        first.ownership.close()

        assert second.lease().number == 1
        assert isinstance(first.ask(), wire.Idle)


def test_a_server_whose_connection_is_cut_takes_its_studies_again(url: str, tmp_path: Path) -> None:
    with two_desks(url, tmp_path) as (first, second), first.ownership.kept():
        first.lease()
        with second.record.engine.connect() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE classid = :key"),
                               {"key": LOCK_CLASS})  # fmt: skip
        eventually(lambda: owners(second) == 0, "the lock is free")

        assert first.lease().number == 1
        eventually(lambda: isinstance(first.ask(), wire.Lease) and owners(second) == 1, "the lock is taken again")


def test_a_server_that_falls_silent_is_replaced_within_a_lease_time_and_harmless_when_it_wakes(
    url: str, tmp_path: Path
) -> None:
    with two_desks(url, tmp_path) as (first, second):
        early = first.lease()  # nobody keeps this server's locks: it is as silent as one that was stopped
        asleep_since = time.monotonic()
        eventually(lambda: isinstance(second.ask(), wire.Lease), "the second server hands out")
        taken_after = time.monotonic() - asleep_since

        late = first.ask()

        assert taken_after < LEASE_S
        assert isinstance(late, wire.Idle)
        assert second.lease().number == 2
        first.complete(early)  # a result is a result, whoever takes it
        assert [trial["state"] for trial in second.studies.trials("tiny")] == ["complete", "running", "running"]


def test_each_study_has_a_server_of_its_own(url: str, tmp_path: Path) -> None:
    with two_desks(url, tmp_path) as (first, second):
        first.studies.start(make_study("other", budget={"trials": 9}))

        assert first.lease("tiny").study == "tiny"
        assert second.lease("other").study == "other"
        assert isinstance(first.ask("other"), wire.Idle)
        assert owners(first) == 2


def test_a_study_that_nobody_asks_for_any_more_is_given_up(url: str, tmp_path: Path) -> None:
    with two_desks(url, tmp_path) as (first, second), first.ownership.kept():
        first.lease()
        time.sleep(LEASE_S / 2)
        assert isinstance(second.ask(), wire.Idle)

        eventually(lambda: isinstance(second.ask(), wire.Lease), "the second server hands out")


@pytest.mark.parametrize("kept", [True, False])
def test_two_servers_asked_in_turns_never_create_a_trial_twice(url: str, tmp_path: Path, kept: bool) -> None:
    with two_desks(url, tmp_path) as (first, second), ExitStack() as stack:
        if kept:
            stack.enter_context(first.ownership.kept())
        numbers = []
        while len(numbers) < 9:
            for desk in (first, second):
                offer = desk.ask()
                if isinstance(offer, wire.Lease) and offer.fence == 1:
                    numbers.append(offer.number)
            time.sleep(0.02)

        assert numbers == list(range(9))
