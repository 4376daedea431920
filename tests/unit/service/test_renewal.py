"""The renewal's thread: it outlives errors, brings epochs in order, and says when to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import pytest

from service import wire
from service.client import Client
from service.errors import LeaseLost, NotAllowed, NotFound, ServiceError, Unavailable, UsageError
from service.renewal import Renewal
from tests.unit.service.factory import make_lease, make_point

TTL_S = 0.03  # the thread renews every hundredth of a second
LONG_S = 300.0  # the thread renews never by itself
PATIENCE_S = 10.0


class FakeClient:
    """Answers renewals by `plan(number of the call)`, and lets a test wait for a number of calls."""

    def __init__(self, plan: Callable[[int], ServiceError | bool] = lambda call: False) -> None:
        self.plan = plan
        self.messages: list[wire.Renewal] = []
        self.patience: list[float | None] = []
        self._called = threading.Condition()
        self.refusals: list[ServiceError] = []
        self.decisions: list[wire.Decision] = []
        self.order: list[str] = []

    def renew(self, trial_id: int, message: wire.Renewal, *, patience_s: float | None = None) -> wire.Renewed:
        assert trial_id == 17
        with self._called:
            self.messages.append(message)
            self.order += [f"epoch {point.epoch}" for point in message.epochs]
            self.patience.append(patience_s)
            self._called.notify_all()
            answer = self.plan(len(self.messages))
        if isinstance(answer, ServiceError):
            raise answer
        return wire.Renewed(stop=answer)

    def rung(self, trial_id: int, message: wire.Rung, *, patience_s: float | None = None) -> wire.Decision:
        assert trial_id == 17
        answer = self.refusals.pop(0) if self.refusals else None
        if answer is not None:
            raise answer
        self.order.append(f"rung {message.rung}")
        return self.decisions.pop(0) if self.decisions else wire.Decision(decision="continue")

    def wait_for(self, calls: int) -> None:
        with self._called:
            assert self._called.wait_for(lambda: len(self.messages) >= calls, PATIENCE_S)

    @property
    def epochs(self) -> list[list[int]]:
        return [[point.epoch for point in message.epochs] for message in self.messages]

    @property
    def arrived(self) -> list[int]:
        return [epoch for epochs in self.epochs for epoch in epochs]


def _renewal(fake: FakeClient, ttl_s: float = TTL_S) -> Renewal:
    return Renewal(cast(Client, fake), make_lease(ttl_s=ttl_s))


def _until(condition: Callable[[], bool]) -> None:
    """Wait for what the thread does after its call returned."""
    tick = threading.Event()
    for _ in range(2000):
        if condition():
            return
        tick.wait(0.005)
    raise AssertionError("it did not happen")


def test_the_lease_is_renewed_again_and_again_with_its_fence() -> None:
    fake = FakeClient()
    with _renewal(fake) as renewal:
        fake.wait_for(3)
        assert not renewal.interrupts
        assert renewal.lost == ""
    assert {message.fence for message in fake.messages} == {2}
    assert set(fake.patience) == {TTL_S / 3}  # a call never lasts until the lease is over


def test_nothing_is_renewed_after_the_end() -> None:
    fake = FakeClient()
    with _renewal(fake):
        fake.wait_for(1)
    before = len(fake.messages)
    threading.Event().wait(5 * TTL_S)
    assert len(fake.messages) == before


def test_leaving_does_not_wait_for_the_next_renewal() -> None:
    fake = FakeClient()
    with _renewal(fake, LONG_S):
        pass
    assert fake.messages == []


@pytest.mark.parametrize("error", [Unavailable("away"), NotAllowed("token"), ServiceError("500")])
def test_it_outlives_errors(error: ServiceError, caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeClient(lambda call: error if call <= 3 else False)
    with _renewal(fake) as renewal:
        fake.wait_for(5)
        assert not renewal.interrupts
    assert caplog.text.count("renewal: ") == 3


@pytest.mark.parametrize("error", [LeaseLost("b took the trial over"), NotFound("no such trial")])
def test_a_lost_lease_interrupts_and_is_not_asked_for_again(error: ServiceError) -> None:
    fake = FakeClient(lambda call: error if call >= 2 else False)
    with _renewal(fake) as renewal:
        _until(lambda: renewal.interrupts)
        assert renewal.lost == str(error)
        threading.Event().wait(5 * TTL_S)
    assert len(fake.messages) == 2


def test_a_stop_interrupts_while_the_lease_is_renewed_on() -> None:
    fake = FakeClient(lambda call: call == 2)
    with _renewal(fake) as renewal:
        _until(lambda: renewal.interrupts)
        fake.wait_for(4)
        assert renewal.interrupts  # a stop once heard stays
        assert renewal.lost == ""


def test_epochs_are_brought_once_and_in_order() -> None:
    fake = FakeClient()
    with _renewal(fake) as renewal:
        for epoch in range(1, 6):
            renewal.add(make_point(epoch))
        _until(lambda: fake.arrived == [1, 2, 3, 4, 5])
        renewal.add(make_point(6))
        _until(lambda: fake.arrived[-1] == 6)
    assert fake.arrived == [1, 2, 3, 4, 5, 6]


def test_an_epoch_wakes_the_thread_before_its_time() -> None:
    fake = FakeClient()
    with _renewal(fake, LONG_S) as renewal:
        renewal.add(make_point(1))
        fake.wait_for(1)
    assert fake.epochs == [[1]]


def test_epochs_that_did_not_arrive_are_sent_again() -> None:
    fake = FakeClient(lambda call: Unavailable("away") if call <= 2 else False)
    with _renewal(fake) as renewal:
        renewal.add(make_point(1))
        _until(lambda: len(fake.messages) >= 4)
    assert fake.epochs[:3] == [[1], [1], [1]]
    assert not any(fake.epochs[3:])


def test_flush_sends_what_waits_and_nothing_else() -> None:
    fake = FakeClient()
    renewal = _renewal(fake, LONG_S)  # not started: only flush sends
    renewal.flush()
    assert fake.messages == []
    renewal.add(make_point(1))
    renewal.add(make_point(2))
    renewal.flush(1.5)
    renewal.flush()
    assert fake.epochs == [[1, 2]]
    assert fake.patience == [1.5]


def test_flush_tells_of_trouble_and_keeps_the_epochs() -> None:
    answers: dict[int, ServiceError] = {1: Unavailable("away"), 2: LeaseLost("taken")}
    fake = FakeClient(lambda call: answers.get(call, False))
    renewal = _renewal(fake, LONG_S)
    renewal.add(make_point(1))
    with pytest.raises(Unavailable):
        renewal.flush()
    with pytest.raises(LeaseLost):
        renewal.flush()
    renewal.flush()
    assert fake.epochs == [[1], [1], [1]]


def test_a_flush_beside_the_thread_brings_no_epoch_twice() -> None:
    fake = FakeClient()
    with _renewal(fake) as renewal:
        for epoch in range(1, 40):
            renewal.add(make_point(epoch))
            renewal.flush()
    assert fake.arrived == list(range(1, 40))


def test_two_senders_take_turns() -> None:
    """While one renewal is on its way another one waits, or the server would see an epoch twice."""
    renewal: Renewal
    other: list[threading.Thread] = []

    def plan(call: int) -> bool:
        if call == 1:
            other.append(threading.Thread(target=renewal.flush))
            other[0].start()
            other[0].join(0.1)
        return False

    fake = FakeClient(plan)
    renewal = _renewal(fake, LONG_S)
    renewal.add(make_point(1))
    renewal.flush()
    other[0].join(PATIENCE_S)
    assert fake.arrived == [1]


def test_an_epoch_added_while_others_are_sent_is_not_lost() -> None:
    renewal: Renewal

    def plan(call: int) -> bool:
        if call == 1:
            renewal.add(make_point(2))
        return False

    fake = FakeClient(plan)
    renewal = _renewal(fake, LONG_S)
    renewal.add(make_point(1))
    renewal.flush()
    renewal.flush()
    assert fake.epochs == [[1], [2]]


def _rung(rung: int) -> wire.Rung:
    return wire.Rung(fence=2, rung=rung, epoch=rung + 1, values={"accuracy": 0.5})


def test_a_rung_is_sent_at_once_behind_its_epochs() -> None:
    fake = FakeClient()
    with _renewal(fake, LONG_S) as renewal:
        for number in range(3):
            renewal.add(make_point(number + 1))
            renewal.rung(_rung(number))
            _until(lambda number=number: f"rung {number}" in fake.order)
    assert fake.order == ["epoch 1", "rung 0", "epoch 2", "rung 1", "epoch 3", "rung 2"]


def test_a_rung_that_did_not_arrive_is_sent_again() -> None:
    fake = FakeClient()
    fake.refusals = [Unavailable("away"), Unavailable("away")]
    with _renewal(fake) as renewal:
        renewal.rung(_rung(0))
        _until(lambda: fake.order == ["rung 0"])


def test_a_refused_rung_is_told_to_whoever_flushes() -> None:
    fake = FakeClient()
    fake.refusals = [UsageError("values: latency_ms missing")]
    renewal = _renewal(fake, LONG_S)
    renewal.rung(_rung(0))
    with pytest.raises(UsageError, match="latency_ms missing"):
        renewal.flush()


def test_epochs_not_taken_yet_are_known() -> None:
    fake = FakeClient(lambda call: Unavailable("away") if call == 1 else False)
    renewal = _renewal(fake, LONG_S)
    renewal.add(make_point(1))
    with pytest.raises(Unavailable):
        renewal.flush()
    assert renewal.unsent_epochs == (make_point(1),)
    renewal.flush()
    assert renewal.unsent_epochs == ()


def test_rungs_not_taken_yet_are_known() -> None:
    fake = FakeClient()
    fake.refusals = [Unavailable("away")]
    renewal = _renewal(fake, LONG_S)
    renewal.rung(_rung(0))
    renewal.rung(_rung(1))
    with pytest.raises(Unavailable):
        renewal.flush()
    assert renewal.unsent_rungs == (_rung(0), _rung(1))
    renewal.flush()
    assert renewal.unsent_rungs == ()


def test_a_stop_at_a_rung_interrupts_the_training_and_ends_the_thread() -> None:
    fake = FakeClient()
    fake.decisions = [wire.Decision(decision="continue"), wire.Decision(decision="stop", reason="place 9 of 9")]
    with _renewal(fake) as renewal:
        renewal.rung(_rung(0))
        _until(lambda: fake.order == ["rung 0"])
        assert not renewal.interrupts
        renewal.rung(_rung(1))
        _until(lambda: renewal.interrupts)
        assert (renewal.stopped, renewal.lost) == ("place 9 of 9", "")
        _until(lambda: not renewal._thread.is_alive())


def test_behind_a_stop_no_rung_is_sent() -> None:
    fake = FakeClient()
    fake.decisions = [wire.Decision(decision="stop", reason="dominated")]
    renewal = _renewal(fake, LONG_S)
    for number in range(2):
        renewal.rung(_rung(number))

    renewal.flush()

    assert fake.order == ["rung 0"]
    assert renewal.stopped == "dominated"
