from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from service.interrupt import HeldBack


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Python's own handler of SIGINT, also where a shell started the tests in the background."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_the_release(number: signal.Signals) -> None:
    with HeldBack() as interrupts:
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            interrupts.release()
        assert signal.getsignal(number) is signal.default_int_handler


def test_the_second_signal_acts_at_once() -> None:
    with HeldBack():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_without_a_signal_nothing_is_raised_and_the_handlers_are_back() -> None:
    with HeldBack() as interrupts:
        interrupts.release()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with HeldBack() as interrupts:
        signal.raise_signal(signal.SIGINT)
        interrupts.release()
