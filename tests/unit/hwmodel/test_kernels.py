"""Kernels against hand-computed cases, closed forms and their slow twins."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwmodel import circuit, kernels, reference
from hwmodel.circuit import HAZARDS, REGISTERS
from hwmodel.cores import counter_range
from hwmodel.kernels import CAUSES, ConvTiming, FcTiming
from hwmodel.reference import ConvRecord
from hwmodel.vectors import file_activations

Counts = list[list[int]]


@dataclass
class Run:
    latency: int
    busy: int
    accumulate_cycles: int
    causes: dict[str, int]
    hazards: dict[str, int]
    activation_ends: list[list[int]]


def timing_of(record: ConvRecord, mode: str) -> ConvTiming:
    return ConvTiming(
        groups=record.groups,
        chunks=record.chunks,
        wrap=counter_range(record.spike_buffer),
        taps=record.kernel**2,
        activation=max(record.out_frame - 1, 1) if mode == "rtl" else record.out_frame,
        tail=3 * record.cores + 1,
    )


def named(names: tuple[str, ...], values: NDArray[np.int64]) -> dict[str, int]:
    return dict(zip(names, values.tolist(), strict=True))


def run_rtl(counts: Counts, record: ConvRecord) -> Run:
    registers = np.empty(REGISTERS, np.int64)
    circuit.reset(registers)
    return run_rtl_at(0, counts, record, registers)


def run_rtl_at(pulse: int, counts: Counts, record: ConvRecord, registers: NDArray[np.int64]) -> Run:
    causes, hazards = np.zeros(len(CAUSES), np.int64), np.zeros(len(HAZARDS), np.int64)
    bounds = np.zeros(record.groups * len(counts), np.int64)
    ends = np.zeros_like(bounds)
    flag, busy, worked, activations = circuit.conv_rtl(
        np.array(counts, np.int32), timing_of(record, "rtl"), pulse, registers, causes, hazards, bounds, ends
    )
    return Run(
        flag - pulse,
        busy - pulse,
        worked,
        named(CAUSES, causes),
        named(HAZARDS, hazards),
        file_activations(ends[:activations], bounds, len(counts)),
    )


def run_ideal(counts: Counts, record: ConvRecord) -> tuple[int, dict[str, int]]:
    causes = np.zeros(len(CAUSES), np.int64)
    registers = np.zeros(2, np.int64)
    _, latency, _ = kernels.conv_ideal(np.array(counts, np.int32), timing_of(record, "ideal"), 0, registers, causes)
    return latency, named(CAUSES, causes)


def run_fc(totals: list[int], **timing: int) -> tuple[int, int, dict[str, int]]:
    causes = np.zeros(len(CAUSES), np.int64)
    latency, strobes = kernels.fc_cycles(np.array(totals, np.int64), FcTiming(**timing), causes)
    return latency, strobes, named(CAUSES, causes)


def in_order(counter: Counter[str], names: tuple[str, ...]) -> dict[str, int]:
    return {name: counter[name] for name in names}


records = st.builds(
    ConvRecord,
    groups=st.integers(1, 4),
    chunks=st.integers(1, 5),
    spike_buffer=st.sampled_from([4, 8, 13, 16, 32]),
    kernel=st.integers(2, 5),
    out_frame=st.integers(1, 40),
    cores=st.integers(1, 4),
)
spikes = st.one_of(st.just(0), st.integers(1, 3), st.integers(0, 20))


@st.composite
def count_matrices(draw: st.DrawFn) -> Counts:
    channels = draw(st.integers(1, 3))
    row = st.lists(spikes, min_size=channels, max_size=channels)
    return draw(st.lists(row, min_size=1, max_size=4))


@given(records, st.integers(0, 2**32 - 1))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_rtl_convolution_equals_the_stepped_circuit(record: ConvRecord, seed: int) -> None:
    """Fifty count matrices for each of 400 circuits: 20,000 cases."""
    rng = np.random.default_rng(seed)
    for _ in range(50):
        shape = (int(rng.integers(1, 5)), int(rng.integers(1, 4)))
        spikes = rng.integers(0, rng.choice([2, 4, 21]), shape) * (rng.random(shape) < rng.random())
        check_rtl_against_twin(spikes.tolist(), record)


def check_rtl_against_twin(counts: Counts, record: ConvRecord) -> Run:
    run, twin = run_rtl(counts, record), reference.rtl_conv(counts, record)
    assert run.latency == twin.latency
    assert run.accumulate_cycles == twin.accumulate_cycles
    assert run.activation_ends == twin.activation_ends
    assert run.causes == in_order(twin.causes, CAUSES)
    assert run.hazards == in_order(twin.hazards, HAZARDS)
    assert run.busy == max(twin.latency, twin.idle_from)
    assert sum(run.causes.values()) == run.latency
    requests = len(run.activation_ends) + run.hazards["merged"] + run.hazards["lost"]
    assert requests == record.groups * len(counts)
    return run


def test_rtl_convolution_equals_the_stepped_circuit_where_races_are_common() -> None:
    rng = random.Random(20231205)
    seen: Counter[str] = Counter()
    for _ in range(700):
        sparsity, channels = rng.random(), rng.randint(1, 3)
        counts = [
            [0 if rng.random() < sparsity else rng.choice([1, 1, 2, 3, 17]) for _ in range(channels)]
            for _ in range(rng.randint(1, 4))
        ]
        record = ConvRecord(
            groups=rng.randint(1, 3),
            chunks=rng.randint(1, 5),
            spike_buffer=rng.choice([4, 8, 16]),
            kernel=rng.choice([2, 2, 3]),
            out_frame=rng.randint(1, 40),
        )
        seen.update(check_rtl_against_twin(counts, record).hazards)
    assert all(seen[hazard] > 0 for hazard in HAZARDS), seen


@given(count_matrices(), records)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_ideal_convolution_equals_its_twin(counts: Counts, record: ConvRecord) -> None:
    latency, causes = run_ideal(counts, record)
    twin = reference.ideal_conv(counts, record)
    assert (latency, causes) == (twin.latency, in_order(twin.causes, CAUSES))
    assert sum(causes.values()) == latency


@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=8),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(0, 30),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_fully_connected_equals_its_twin(totals: list[int], passes: int, channels: int, chunks: int, tail: int) -> None:
    latency, strobes, causes = run_fc(totals, passes=passes, channels=channels, chunks=chunks, tail=tail)
    twin = reference.fc(totals, passes=passes, channels=channels, chunks=chunks, tail=tail)
    assert (latency, strobes) == (twin.latency, twin.accumulate_cycles)
    assert causes == in_order(twin.causes, CAUSES)


@given(
    st.integers(1, 40),
    st.integers(1, 10),
    st.integers(1, 5),
    st.integers(1, 90),
    st.integers(1, 60),
    st.sampled_from(["ideal", "rtl"]),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_dense_equals_its_twin(
    out_channels: int, rows: int, time_steps: int, out_frame: int, cells: int, mode: str
) -> None:
    groups = -(-out_channels // rows) if mode == "ideal" else out_channels // rows
    causes = np.zeros(len(CAUSES), np.int64)
    latency = kernels.dense_cycles(groups * time_steps, out_frame, cells, causes)
    twin = reference.dense(
        out_channels=out_channels, rows=rows, time_steps=time_steps, out_frame=out_frame, cells=cells, mode=mode
    )
    assert latency == twin.latency
    assert named(CAUSES, causes) == in_order(twin.causes, CAUSES)


def test_ideal_convolution_by_hand() -> None:
    # One step, two channels with 4 and 1 spikes, 2x2 kernel, M = 4, F_out = 4, one core.
    # tau 18, accumulate [19, 35); tau 31 waits 4 cycles for 35, accumulate [36, 40); boundary 37;
    # activate [40, 44); write-back 3 + 1: 48.
    record = ConvRecord(groups=1, chunks=4, spike_buffer=4, kernel=2, out_frame=4, cores=1)
    latency, causes = run_ideal([[4, 1]], record)
    assert latency == 48
    assert causes == {"fetch": 2, "compress": 26, "accumulate": 4, "activate": 4, "hand_over": 2, "wait": 10}


def test_ideal_convolution_activates_silent_steps_too() -> None:
    record = ConvRecord(groups=1, chunks=1, spike_buffer=4, kernel=2, out_frame=100, cores=2)
    # Each step: fetch, 2 chunk cycles, step, boundary; the second boundary waits for the first activation.
    # Boundaries 5 and 106 (held from 10), activations [6, 106) and [107, 207), write-back 7.
    latency, causes = run_ideal([[0], [0]], record)
    assert latency == 207 + 7
    assert causes["activate"] == (106 - 10) + (207 - 109)


def test_fully_connected_by_hand() -> None:
    # T = 2 with 3 and 0 spikes, C = 1, M = 1, two passes, write-back 4 (ideal, two cores).
    latency, strobes, causes = run_fc([3, 0], passes=2, channels=1, chunks=1, tail=4)
    assert (latency, strobes) == (42, 4)
    assert causes == {"fetch": 4, "compress": 10, "accumulate": 8, "activate": 4, "hand_over": 0, "wait": 16}
    assert run_fc([3, 0], passes=3, channels=1, chunks=1, tail=0)[0] == 47


def test_dense_by_hand() -> None:
    causes = np.zeros(len(CAUSES), np.int64)
    assert kernels.dense_cycles(2 * 3, 9, 4, causes) == 6 * (9 + 4 + 2) + 1
    assert causes.tolist() == [0, 0, 54, 0, 0, 37]


def test_rtl_latency_of_a_silent_input_is_the_closed_form() -> None:
    record = ConvRecord(groups=2, chunks=4, spike_buffer=8, kernel=3, out_frame=9)
    run = run_rtl([[0, 0]] * 3, record)
    assert run.latency == 2 + 2 * (3 * 2 * (2 * 4 + 2) + 3 + 1)
    assert len(run.activation_ends) == 1  # only the step right after reset


@pytest.mark.parametrize("seed", range(20))
def test_rtl_latency_has_the_compression_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, (4, 3))
    record = ConvRecord(groups=2, chunks=4, spike_buffer=16, kernel=3, out_frame=16)
    visits, spiking = counts.size, np.count_nonzero(counts)
    bound = 2 + 2 * (visits * (2 * 4 + 2) + 2 * int(counts.sum()) + int(spiking) + 4 + 1)
    run = run_rtl(counts.tolist(), record)
    assert run.latency >= bound
    waited = run.causes["accumulate"] + run.causes["activate"]
    assert waited > 0 or run.latency == bound


def test_rtl_latency_meets_the_compression_bound_when_nothing_waits() -> None:
    # 40 chunks a map: the iterator is always idle again before the next hand-over.
    record = ConvRecord(groups=2, chunks=40, spike_buffer=16, kernel=2, out_frame=4)
    assert run_rtl([[1, 3], [2, 1]], record).latency == 2 + 2 * (4 * 82 + 2 * 7 + 4 + 2 + 1)


@pytest.mark.parametrize("seed", range(20))
def test_rtl_latency_of_an_iterator_bound_layer_is_the_closed_form(seed: int) -> None:
    counts = np.random.default_rng(seed).integers(4, 10, (3, 4))  # 9*4 >= 2*4 + 2*9 + 8
    record = ConvRecord(groups=2, chunks=4, spike_buffer=16, kernel=3, out_frame=25)
    first, last = int(counts[0, 0]), int(counts[-1, -1])
    expected = 7 + 2 * 4 + 2 * first + 2 * counts.size
    expected += 9 * (2 * int(counts.sum()) - last) + (2 * 3 - 1) * (25 - 1)
    assert run_rtl(counts.tolist(), record).latency == expected


def test_a_full_map_wraps_the_spike_counter() -> None:
    record = ConvRecord(groups=1, chunks=4, spike_buffer=16, kernel=3, out_frame=16)
    run = run_rtl([[16]], record)
    assert run.hazards["wraps"] == 1
    assert run.accumulate_cycles == 0


def test_batches_equal_single_images() -> None:
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 9, (6, 4, 3)).astype(np.int32)
    record = ConvRecord(groups=2, chunks=3, spike_buffer=8, kernel=3, out_frame=20, cores=2)
    cycles, busy, worked = (np.zeros(6, np.int64) for _ in range(3))
    causes, hazards = np.zeros((6, len(CAUSES)), np.int64), np.zeros((6, len(HAZARDS)), np.int64)
    circuit.conv_rtl_images(counts, timing_of(record, "rtl"), cycles, busy, worked, causes, hazards)
    for image in range(6):
        run = run_rtl(counts[image].tolist(), record)
        assert (run.latency, run.busy) == (cycles[image], busy[image])
        assert worked[image] == run.accumulate_cycles + 19 * len(run.activation_ends)
        assert list(run.causes.values()) == causes[image].tolist()
        assert list(run.hazards.values()) == hazards[image].tolist()


@given(st.lists(count_matrices(), min_size=2, max_size=4), records, st.integers(0, 60))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_an_rtl_stream_equals_the_stepped_circuit(images: list[Counts], record: ConvRecord, pause: int) -> None:
    """Without a reset an image meets what the one before left in the iterator."""
    registers = np.empty(REGISTERS, np.int64)
    circuit.reset(registers)
    pulse = 0
    for counts, twin in zip(images, reference.rtl_stream(images, record, pause=pause), strict=True):
        run = run_rtl_at(pulse, counts, record, registers)
        assert run.latency == twin.latency
        assert run.causes == in_order(twin.causes, CAUSES)
        assert run.hazards == in_order(twin.hazards, HAZARDS)
        pulse += run.latency + pause


@given(st.lists(count_matrices(), min_size=2, max_size=4), records)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_an_ideal_stream_equals_its_twin(images: list[Counts], record: ConvRecord) -> None:
    registers = np.zeros(2, np.int64)
    pulse = 0
    for counts, twin in zip(images, reference.ideal_stream(images, record), strict=True):
        causes = np.zeros(len(CAUSES), np.int64)
        ready, done, worked = kernels.conv_ideal(
            np.array(counts, np.int32), timing_of(record, "ideal"), pulse, registers, causes
        )
        assert done - pulse == twin.latency
        assert named(CAUSES, causes) == in_order(twin.causes, CAUSES)
        assert worked == twin.accumulate_cycles + record.groups * len(counts) * record.out_frame
        pulse = ready


@given(count_matrices(), records, st.sets(st.integers(1, 9), min_size=1))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_all_numbers_of_groups_come_from_one_run(counts: Counts, record: ConvRecord, numbers: set[int]) -> None:
    groups = np.array(sorted(numbers), np.int64)
    image = np.array([counts], np.int32)
    flag, ready, idle = (np.zeros((len(groups), 1), np.int64) for _ in range(3))
    circuit.conv_rtl_by_groups(image, timing_of(record, "rtl"), groups, flag)
    kernels.conv_ideal_by_groups(image, timing_of(record, "ideal"), groups, ready, idle)
    for k, number in enumerate(groups.tolist()):
        alone = replace(record, groups=number)
        assert flag[k, 0] == run_rtl(counts, alone).latency
        assert max(ready[k, 0], idle[k, 0] + 3 * record.cores + 1) == run_ideal(counts, alone)[0]
