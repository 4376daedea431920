"""The SystemC model's recursion against a stepped twin, published lines and its own accounting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodel.errors import AcceleratorError, ActivityError
from hwmodel.tlm import TLM_CAUSES, TlmCycles, step_cycles, tlm_cycles

Steps = list[tuple[int, int, int]]


@dataclass
class Board:
    """What the three controllers see of one another: cycles, each known as soon as its end can be foreseen."""

    now: int = 0
    full: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    free: tuple[list[int], list[int]] = field(default_factory=lambda: ([0], [0]))
    ends: tuple[list[int], list[int], list[int]] = field(default_factory=lambda: ([], [], []))

    def is_full(self, buffer: int, step: int, late: int = 0) -> bool:
        return len(self.full[buffer]) > step and self.now >= self.full[buffer][step] + late

    def is_free(self, buffer: int, step: int) -> bool:
        return len(self.free[buffer]) > step and self.now >= self.free[buffer][step]


def first_controller(board: Board, counts: list[int], spike: int) -> Iterator[str]:
    """Reads its own input; each `yield` is one cycle."""
    for step, n in enumerate(counts):
        yield "control"
        yield from ["accumulate"] * (n * spike)
        if n:
            while not board.is_free(0, step):
                yield "output"
            yield "activate"
        board.full[0].append(board.now + 1)
        yield from ["activate"] * 2
        board.ends[0].append(board.now)
        yield "control"


def middle_controller(board: Board, counts: list[int], spike: int) -> Iterator[str]:
    for step, n in enumerate(counts):
        while not board.is_full(0, step):
            yield "input"
        yield from ["control"] * 2
        yield from ["accumulate"] * (n * spike)
        while not board.is_free(1, step):
            yield "output"
        board.full[1].append(board.now + 2)
        board.free[0].append(board.now + 3)
        yield from ["activate"] * 4
        board.ends[1].append(board.now)


def last_controller(board: Board, counts: list[int], spike: int) -> Iterator[str]:
    for step, n in enumerate(counts):
        while not board.is_full(1, step, late=late(board, step, final=step == len(counts) - 1)):
            yield "input"
        yield from ["control"] * 2
        yield from ["accumulate"] * (n * spike)
        board.free[1].append(board.now + (2 if board.now % 2 else 3))
        yield from ["activate"] * 3
        board.ends[2].append(board.now)
        yield "control"


def late(board: Board, step: int, *, final: bool) -> int:
    """The kernel wakes the last controller a cycle late in odd cycles, except at an even last step."""
    if len(board.full[1]) <= step or (final and board.full[0][step] % 2 == 0):
        return 0
    return board.full[1][step] % 2


def stepped(lhr: tuple[int, int, int], steps: Steps) -> tuple[Board, list[Counter[str]]]:
    """Step the three controllers cycle by cycle until the last has its last result."""
    board = Board()
    counts = [list(layer) for layer in zip(*steps, strict=True)]
    made = zip((first_controller, middle_controller, last_controller), counts, lhr, strict=True)
    controllers = [controller(board, layer, 4 * ratio + 2) for controller, layer, ratio in made]
    causes: list[Counter[str]] = [Counter() for _ in controllers]
    while True:
        doing = [next(controller, "input") for controller in controllers]
        if len(board.ends[2]) == len(steps):
            return board, causes
        for counter, cause in zip(causes, doing, strict=True):
            counter[cause] += 1
        board.now += 1


def run(lhr: tuple[int, int, int], steps: Steps) -> TlmCycles:
    return tlm_cycles(lhr, np.array([steps], np.int64))


ratios = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
spikes = st.one_of(st.integers(0, 3), st.integers(1, 12))
trains = st.lists(st.tuples(spikes, spikes, spikes), min_size=1, max_size=7)


@given(ratios, trains)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_the_pipeline_equals_the_stepped_controllers(lhr: tuple[int, int, int], steps: Steps) -> None:
    result = run(lhr, steps)
    board, causes = stepped(lhr, steps)
    assert result.ends[0].T.tolist() == list(board.ends)
    assert result.latency[0] == board.now
    for layer, counter in enumerate(causes):
        assert dict(zip(TLM_CAUSES, result.causes[0, layer].tolist(), strict=True)) == {
            cause: counter[cause] for cause in TLM_CAUSES
        }


@given(ratios, trains)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_each_layer_s_causes_sum_to_the_latency(lhr: tuple[int, int, int], steps: Steps) -> None:
    result = run(lhr, steps)
    assert (result.causes >= 0).all()
    assert result.causes.sum(axis=2).tolist() == [result.latency.tolist() * 3]
    assert result.busy.tolist() == result.causes[:, :, :3].sum(axis=2).tolist()


def test_the_opening_of_the_published_trace() -> None:
    ends = run((4, 8, 16), [(93, 58, 75), (95, 74, 95), (112, 81, 89)]).ends[0]
    assert ends[0].tolist() == [1678, 3655, 8609]


@pytest.mark.parametrize(
    ("layer", "spikes", "lhr", "cycles"), [(0, 93, 4, 1678), (1, 58, 8, 1977), (2, 75, 16, 4954), (0, 0, 4, 3)]
)
def test_single_layer_steps(layer: int, spikes: int, lhr: int, cycles: int) -> None:
    assert step_cycles(layer, spikes, lhr) == cycles


@pytest.mark.parametrize("spikes", [(0, 0, 0), (0, 2, 1), (7, 0, 3), (7, 5, 3)])
def test_one_step_is_the_sum_of_its_layer_steps(spikes: tuple[int, int, int]) -> None:
    ends = run((2, 3, 4), [spikes]).ends[0, 0].tolist()
    whole = np.cumsum([step_cycles(layer, n, layer + 2) for layer, n in enumerate(spikes)]).tolist()
    buffers_filled = ends[0] - 1, ends[1] - 2
    assert ends[:2] == whole[:2]
    assert ends[2] == whole[2] - (0 if all(cycle % 2 for cycle in buffers_filled) else 1)


def test_two_steps_by_hand() -> None:
    # LHR 1: 6 cycles a spike. Layer 0: a = 0+1+6+1 = 8, full0 9, next t0 11; step 1: a = max(11+1+6, free0) + 1.
    # Layer 1: b = 10, c = 10+1+12 = 23, full1 25, free0 26, idle1 27. So step 1 of layer 0 waits from 18 to 26.
    # Layer 2: p = 1, d = 27, e = 28+18 = 46, end 49, free1 46+3, idle2 50.
    # Step 1: a = 27, full0 28; b = 29, c = max(30+12, 49) = 49: waits 7; full1 51; p = 0: full0 is even.
    # d = 52, e = 53+18 = 71, end 74.
    result = run((1, 1, 1), [(1, 2, 3), (1, 2, 3)])
    assert result.ends[0].tolist() == [[10, 27, 49], [29, 53, 74]]
    assert result.latency.tolist() == [74]
    assert result.causes[0, :, 4].tolist() == [8, 7, 0]
    assert result.causes[0, :, 0].tolist() == [12, 24, 36]
    assert result.busy.tolist() == [[12 + 2 * 5, 24 + 2 * 6, 36 + 2 * 6 - 1]]


@pytest.mark.parametrize(("bottleneck", "fixed"), [(0, 5), (1, 7), (2, 8)])
def test_the_slowest_layer_sets_the_period(bottleneck: int, fixed: int) -> None:
    # The buffer before a slow layer is free only when that layer is done, so it waits for the refill: 1 and 2 cycles.
    spikes = [1, 1, 1]
    spikes[bottleneck] = 40
    train = [(spikes[0], spikes[1], spikes[2])]
    longer = run((4, 4, 4), train * 12).latency[0] - run((4, 4, 4), train * 10).latency[0]
    assert longer == 2 * (40 * 18 + fixed)


def test_a_higher_ratio_never_speeds_a_layer_up() -> None:
    train = [(20, 30, 10)] * 8
    latencies = [run((1, ratio, 1), train).latency[0] for ratio in range(1, 9)]
    assert latencies == sorted(set(latencies))


def test_silent_steps_are_counted_where_the_original_loses_them() -> None:
    result = run((1, 2, 3), [(0, 4, 0), (0, 0, 5), (3, 4, 0)])
    assert result.lost.tolist() == [[2, 1, 0]]


def test_images_do_not_touch_one_another() -> None:
    totals = np.random.default_rng(3).integers(0, 30, (5, 6, 3))
    together = tlm_cycles((2, 3, 1), totals)
    for image in range(5):
        alone = tlm_cycles((2, 3, 1), totals[image : image + 1])
        for name in ("latency", "busy", "ends", "causes", "lost"):
            assert getattr(together, name)[image].tolist() == getattr(alone, name)[0].tolist()


def test_no_images_are_legal() -> None:
    result = tlm_cycles((1, 1, 1), np.zeros((0, 4, 3), np.int64))
    assert result.latency.shape == (0,)
    assert result.causes.shape == (0, 3, 5)


@pytest.mark.parametrize("lhr", [(1, 1), (1, 0, 1), (1, 2.0, 1), (1, 1, 1, 1)])
def test_ratios_that_do_not_fit_are_refused(lhr: Any) -> None:
    with pytest.raises(AcceleratorError, match="lhr must be 3 positive integers"):
        tlm_cycles(lhr, np.zeros((1, 4, 3), np.int64))


@pytest.mark.parametrize(
    ("totals", "message"),
    [
        (np.zeros((4, 3), np.int64), r"integer counts \(images, steps, 3\), got int64 of shape \(4, 3\)"),
        (np.zeros((1, 4, 2), np.int64), r"shape \(1, 4, 2\)"),
        (np.zeros((1, 4, 3)), "got float64"),
        (np.zeros((1, 0, 3), np.int64), "no steps; give at least one"),
        (np.full((1, 4, 3), -2), "negative count, -2"),
    ],
)
def test_counts_that_do_not_fit_are_refused(totals: Any, message: str) -> None:
    with pytest.raises(ActivityError, match=message):
        tlm_cycles((1, 1, 1), totals)
