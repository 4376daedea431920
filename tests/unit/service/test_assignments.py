"""Options that name things and give each a number."""

from __future__ import annotations

import pytest

from service.assignments import numbers
from service.errors import UsageError


def test_numbers_by_name_the_last_of_a_name_counts() -> None:
    assert numbers(["luts=20000", "bram36=1.5e2", "luts=10"], "--budget", "luts=20000") == {
        "luts": 10.0,
        "bram36": 150.0,
    }
    assert numbers([], "--budget", "luts=20000") == {}


@pytest.mark.parametrize("item", ["luts", "luts=", "luts=many", "luts=1=2"])
def test_what_has_no_number_is_refused_with_an_example(item: str) -> None:
    with pytest.raises(UsageError, match=f"--budget {item}: expected NAME=NUMBER, such as luts=20000"):
        numbers([item], "--budget", "luts=20000")
