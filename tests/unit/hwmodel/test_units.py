"""Units: sums keep their type and lose nothing to rounding."""

from __future__ import annotations

from hwmodel.units import Joules, Seconds, total_j, total_s


def test_totals_are_exactly_rounded() -> None:
    assert total_j([Joules(0.1)] * 10) == 1.0
    assert total_s([Seconds(1e16), Seconds(1.0), Seconds(-1e16)]) == 1.0


def test_nothing_sums_to_zero() -> None:
    assert total_j([]) == 0.0
    assert total_s([]) == 0.0
