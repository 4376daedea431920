"""The sweep against brute force, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import hwmodel.sweep as sweep_module
from hwmodel.cores import Core, LayerShape
from hwmodel.cycles import layer_cycles
from hwmodel.errors import AcceleratorError, ActivityError, DeviceError
from hwmodel.sweep import SweepSpace, sweep
from tests.unit.hwmodel.networks import random_activity, small_accelerator
from tests.unit.hwmodel.sweeps import (
    DENSE,
    FOUR,
    SPARSE,
    TWINS,
    activity_of,
    brute_force,
    choices,
    found,
    swept,
    three,
)


@pytest.mark.parametrize("budget", [{}, {"luts": 3700, "bram36": 17.5, "dsp": 26}], ids=["device", "budget"])
@pytest.mark.parametrize("schedule", ["sequential", "ping_pong"])
@pytest.mark.parametrize("mode", ["ideal", "rtl"])
@pytest.mark.parametrize(("dense_first", "space"), [(False, SPARSE), (True, DENSE)], ids=["sparse", "dense"])
def test_equals_brute_force(
    dense_first: bool, space: SweepSpace, mode: str, schedule: str, budget: dict[str, float]
) -> None:
    accelerator = three(dense_first=dense_first, mode=mode, schedule=schedule)
    budget = {**budget, "dsp": 10 * budget["dsp"]} if dense_first and budget else budget
    front = sweep(accelerator, activity_of(accelerator), space, budget=budget)
    expected = brute_force(accelerator, space, budget)
    assert 1 < len(expected) < space.size
    assert found(front) == expected


@pytest.mark.parametrize("schedule", ["sequential", "ping_pong"])
@pytest.mark.parametrize("device", ["xc7z020", "xcvu13p"])
def test_equals_brute_force_where_the_energy_is_unknown(device: str, schedule: str) -> None:
    accelerator = three(device=device, schedule=schedule)
    front = sweep(accelerator, activity_of(accelerator), SPARSE)
    assert front.energy_j is None
    assert front.fps_per_watt is None
    assert found(front) == brute_force(accelerator, SPARSE, {})


def test_equals_brute_force_with_weights_in_uram() -> None:
    accelerator = replace(three(device="xcvu13p"), weight_memory="uram")
    front = sweep(accelerator, activity_of(accelerator), SPARSE, budget={"uram": 4})
    assert len(np.unique(front.uram)) > 1
    assert found(front) == brute_force(accelerator, SPARSE, {"uram": 4})


def test_a_budget_takes_points_away_and_lets_no_others_in() -> None:
    accelerator = three()
    activity = activity_of(accelerator)
    free = sweep(accelerator, activity, SPARSE)
    limited = sweep(accelerator, activity, SPARSE, budget={"flip_flops": 2500})
    assert limited.flip_flops.max() <= 2500 < free.flip_flops.max()
    assert limited.limits["flip_flops"] == 2500
    assert found(limited) == sorted(
        choices(free.build(index)) for index in range(len(free)) if free.flip_flops[index] <= 2500
    )


def test_a_budget_beyond_the_device_changes_nothing() -> None:
    small = replace(three().device, dsp=24)
    accelerator = replace(three(), device=small)
    front = sweep(accelerator, activity_of(accelerator), SPARSE, budget={"dsp": 100})
    assert front.limits["dsp"] == 24
    assert found(front) == brute_force(accelerator, SPARSE, {})


@pytest.mark.parametrize("schedule", ["sequential", "ping_pong"])
def test_equal_accelerators_are_all_kept(schedule: str) -> None:
    accelerator = small_accelerator(shapes=TWINS, neural_cores=[2, 2], schedule=schedule)
    counts = random_activity(accelerator, seed=8, images=4)[0]
    front = sweep(accelerator, [counts, counts])
    pairs = [tuple(pair) for pair in front.neural_cores.tolist()]
    assert sorted(pairs) == sorted(pair[::-1] for pair in pairs)
    one, other = pairs.index((2, 4)), pairs.index((4, 2))
    assert front.latency_s[one] == front.latency_s[other]
    assert front.luts[one] == front.luts[other]


def test_batches_do_not_change_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {schedule: found(swept(SPARSE, schedule=schedule)) for schedule in ("sequential", "ping_pong")}
    monkeypatch.setattr(sweep_module, "BATCH", 7)
    assert {schedule: found(swept(SPARSE, schedule=schedule)) for schedule in whole} == whole


def test_each_layer_is_simulated_once_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated: list[Core] = []
    real = layer_cycles

    def counting(core: Core, *others: Any) -> Any:
        simulated.append(core)
        return real(core, *others)

    monkeypatch.setattr(sweep_module, "layer_cycles", counting)
    assert swept(SPARSE).swept == 12 * 4 * 6
    assert len(simulated) == len(set(simulated)) == 12 + 4 + 6


def test_in_ideal_mode_a_larger_spike_buffer_only_costs() -> None:
    assert set(swept(SPARSE).spike_buffers[:, 0].tolist()) == {16}


def test_unknown_static_power_leaves_a_sequential_front_as_it_is() -> None:
    assert found(swept(SPARSE, device="xcvu13p")) == found(swept(SPARSE, device="xcku115"))


def test_the_ping_pong_front_without_energy_holds_that_of_any_static_power() -> None:
    accelerator = small_accelerator(schedule="ping_pong")
    fronts = {}
    for static_w in (None, 0.01, 100.0):
        powered = replace(accelerator, device=replace(accelerator.device, static_w=static_w))
        fronts[static_w] = found(sweep(powered, activity_of(accelerator), FOUR))
        assert fronts[static_w] == brute_force(powered, FOUR, {})
    assert set(fronts[0.01]) < set(fronts[100.0]) <= set(fronts[None])


def test_a_part_nobody_has_counted_is_refused_where_it_is_occupied() -> None:
    accelerator = three()
    no_luts = replace(accelerator, device=replace(accelerator.device, luts=None))
    with pytest.raises(DeviceError, match="luts is unknown"):
        sweep(no_luts, activity_of(accelerator), budget={"luts": 10**6})
    no_uram = replace(accelerator, device=replace(accelerator.device, uram=None))
    assert len(sweep(no_uram, activity_of(accelerator))) > 0


def test_tlm_is_refused_with_the_reason() -> None:
    fc = [
        LayerShape(f"fc{i}", "fc", in_channels=1, in_frame=8, out_channels=8, out_frame=1, kernel=0) for i in range(3)
    ]
    accelerator = small_accelerator(shapes=fc, neural_cores=[2, 2, 2], mode="tlm")
    with pytest.raises(AcceleratorError, match=r"mode 'tlm' cannot be swept: .*latencies do not add"):
        sweep(accelerator, random_activity(accelerator, seed=1))


def test_a_space_too_large_for_ping_pong_is_refused() -> None:
    accelerator = three(schedule="ping_pong")
    space = SweepSpace(
        neural_cores=((1, 2, 4), (1, 2, 3, 6), (1, 2, 4, 8)),
        encoder_widths=(tuple(range(1, 65)), tuple(range(1, 17)), tuple(range(1, 25))),
        spike_buffers=((32, 64), (16,), ()),
    )
    with pytest.raises(AcceleratorError, match=r"2,359,296 accelerators are too many .* at most 2,000,000"):
        sweep(accelerator, activity_of(accelerator), space)
    assert sweep(three(), activity_of(accelerator), space).swept == space.size


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"lut": 10}, "budget: part 'lut' is unknown; known: luts, flip_flops, bram36, uram, dsp"),
        ({"dsp": -1}, "budget.dsp: expected a finite number, 0 or more, got -1"),
        ({"dsp": math.nan}, "budget.dsp: .* got nan"),
        ({"luts": math.inf}, "budget.luts: .* got inf"),
        ({"luts": True}, "budget.luts: .* got True"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(budget: dict[str, float], message: str) -> None:
    accelerator = three()
    with pytest.raises(AcceleratorError, match=message):
        sweep(accelerator, activity_of(accelerator), budget=budget)


def test_activity_that_does_not_fit_is_refused() -> None:
    accelerator = three()
    with pytest.raises(ActivityError, match="activity has 2 entries"):
        sweep(accelerator, activity_of(accelerator)[:2])
