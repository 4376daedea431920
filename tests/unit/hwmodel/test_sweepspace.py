"""What each layer can be built as, and what cannot be asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hwmodel.errors import AcceleratorError
from hwmodel.sweep import full_space
from tests.unit.hwmodel.sweeps import (
    SPARSE,
    swept,
    three,
)


def test_options_that_would_hang_are_left_out() -> None:
    ideal, rtl = swept(mode="ideal"), swept(mode="rtl")
    assert ideal.swept == 3 * 4 * 4
    assert rtl.swept == 3 * 4 * 3  # one core for eight neurons never ends
    assert ideal.neural_cores[:, 2].min() == 1
    assert rtl.neural_cores[:, 2].min() == 2


def test_a_layer_whose_options_would_all_hang_is_named() -> None:
    space = replace(SPARSE, neural_cores=((1,), (2,), (1,)))
    with pytest.raises(AcceleratorError, match=r"none of the layer's 2 options is left; .*fc1: .* would hang"):
        swept(space, mode="rtl")


def test_full_space_has_every_divisor_and_the_accelerator_s_own_encoders_and_buffers() -> None:
    space = full_space(three())
    assert space.neural_cores == ((1, 2, 4), (1, 2, 3, 6), (1, 2, 4, 8))
    assert space.encoder_widths == ((16,), (4,), (24,))
    assert space.spike_buffers == ((64,), (16,), ())
    assert space.size == 3 * 4 * 4


def test_full_space_with_other_encoders_and_cores() -> None:
    space = full_space(
        three(dense_first=True), neural_cores=[[2], [3, 6], [8]], encoder_divisors=(1, 2, 4, 8, 16, 32, 64)
    )
    assert space.neural_cores == ((2,), (3, 6), (8,))
    assert space.encoder_widths == ((), (1, 2, 4, 8, 16), (1, 3, 6, 12, 24))
    assert space.spike_buffers == ((), (16,), ())


def test_a_fully_connected_layer_keeps_its_own_encoder_beside_others() -> None:
    assert full_space(three(), encoder_divisors=(8,)).encoder_widths == ((8,), (2,), (12, 24))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neural_cores": ((1,), (2,))}, "neural_cores has 2 entries; expected 3: conv1, conv2, fc1"),
        ({"neural_cores": ((3,), (2,), (4,))}, r"neural_cores.0 \(conv1\): 3 does not divide 4; use divisors: 1, 2, 4"),
        ({"neural_cores": ((1,), (), (4,))}, r"neural_cores.1 \(conv2\): no choice"),
        ({"neural_cores": ((1,), (2, 2), (4,))}, r"neural_cores.1 \(conv2\): a choice stands twice in 2, 2"),
        ({"neural_cores": ((0,), (2,), (4,))}, r"neural_cores.0 \(conv1\): expected positive integers, got 0"),
        ({"neural_cores": ((True,), (2,), (4,))}, "expected positive integers, got True"),
        ({"encoder_widths": ((65,), (16,), (24,))}, "conv1: encoder width 65: expected 1 to 64"),
        ({"encoder_widths": ((8,), (16,), ())}, r"encoder_widths.2 \(fc1\): no choice"),
        ({"spike_buffers": ((64,), (16,), (4,))}, r"spike_buffers.2 \(fc1\): this kind of layer has none"),
    ],
)
def test_a_space_that_does_not_fit_the_network_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AcceleratorError, match=message):
        swept(replace(SPARSE, **changes))


@pytest.mark.parametrize("divisor", [0, -4, 2.0, True])
def test_an_encoder_divisor_that_is_no_count_is_refused(divisor: Any) -> None:
    with pytest.raises(AcceleratorError, match=r"encoder_divisors: .* is not a positive integer"):
        full_space(three(), encoder_divisors=(4, divisor))
