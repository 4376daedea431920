"""Hardware searched by every trial: what a study may ask for, and what a trial finds, against looking at everything."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from hwmodel.cores import divisors
from hwmodel.errors import DeviceError
from hwmodel.simulate import Simulation, simulate
from objectives import hardware
from objectives.acceleratorspec import ChosenAccelerator
from objectives.activity import record
from objectives.data import describe
from objectives.errors import CheckpointError, SpecError
from objectives.hardware import accelerator_of, searched_space
from objectives.hardwaresearch import dump, rows, search_accelerators
from objectives.network import build_network
from objectives.score import Score, score, score_test
from objectives.spec import Study, differences
from objectives.studyfile import parse_study
from objectives.train import Training
from tests.support.studies import NO_CORES, STUDY_YAML, make_study, searching, study_text
from tests.unit.objectives.factory import make_data, make_images, make_labels

IMAGES, LABELS = make_images(12), make_labels(12)
START = {"neural_cores": [2, 5], "device": "xc7z045"}


def study_of(accelerator: dict[str, Any] | None = None, **fields: Any) -> Study:
    """The tiny study whose trials search accelerators; it need not pass the checks of a study file."""
    section = searching() if accelerator is None else accelerator
    document = yaml.safe_load(study_text(accelerator=section, search=NO_CORES, threshold=0.2, **fields))
    return Study.model_validate_json(json.dumps(document))


def problem_of(accelerator: dict[str, Any], **fields: Any) -> str:
    """The one problem of the tiny study with another accelerator section."""
    with pytest.raises(SpecError) as caught:
        parse_study(study_text(**{"accelerator": accelerator, "search": NO_CORES, **fields}), "s.yaml")
    (line,) = str(caught.value).splitlines()
    return line


def counts_of(study: Study) -> list[np.ndarray]:
    network = build_network(study, describe("digits"), 1)
    return record(network, IMAGES, LABELS, encoding=study.encoding, seed=3).counts


def score_of(study: Study, baseline: Study | None = None) -> Score:
    return score(study, build_network(study, describe("digits"), 1), IMAGES, LABELS, seed=3, baseline=baseline)


def every_simulation(study: Study) -> list[tuple[ChosenAccelerator, Simulation]]:
    """Each accelerator of the search on its own, without a sweep."""
    space, counts = searched_space(study), counts_of(study)
    found = []
    for cores in product(*space.neural_cores):
        for widths in product(*(widths or (None,) for widths in space.encoder_widths)):
            chosen = ChosenAccelerator(neural_cores=cores, encoder_widths=widths)
            found.append((chosen, simulate(accelerator_of(study.with_accelerator(chosen)), counts)))
    return found


# --- the study file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accelerator", "words"),
    [
        ({**START, "budget": {"luts": 9000}}, "accelerator.budget: holds for a search of accelerators only; add"),
        ({**START, "report": "min_latency"}, "accelerator.report: chooses among searched accelerators only; add"),
        (searching(budget={}), "accelerator.budget: no limit given; set luts, flip_flops, bram36 or dsp"),
        (searching(budget={"luts": 0}), "accelerator.budget.luts: expected greater than or equal to 1"),
        (searching(budget={"lut": 9}), "accelerator.budget.lut: unknown key"),
        (searching(report="best"), "accelerator.report: expected 'min_latency' or 'max_fps_per_watt', got 'best'"),
        (searching(mode="rtl"), "accelerator.search: accelerators are compared in mode ideal, got mode rtl"),
        (searching(mode="tlm"), "accelerator.search: accelerators are compared in mode ideal, got mode tlm"),
        (searching(search={"cores": "all"}), "accelerator.search.cores: unknown key"),
        (searching(search={"neural_cores": "al"}), "accelerator.search.neural_cores: expected all, or numbers of"),
        (searching(search={"neural_cores": [[2], ["a"]]}),
         "accelerator.search.neural_cores.1.0: expected a valid integer, got 'a'"),
        (searching(search={"neural_cores": [[2], []]}), "accelerator.search.neural_cores: entry 1 is empty"),
        (searching(search={"neural_cores": [[2, 2], [5]]}), "accelerator.search.neural_cores: entry 0 names a"),
        (searching(search={"neural_cores": [[2, 3], [5]]}),
         "accelerator.search: neural_cores.0 (conv1): 3 does not divide 4; use divisors: 1, 2, 4"),
        (searching(search={"neural_cores": [[2]]}),
         "accelerator.search: neural_cores has 1 entries; expected 2: conv1, fc1"),
        (searching(search={"encoder_divisors": []}), "accelerator.search.encoder_divisors: the list is empty"),
        (searching(search={"encoder_divisors": [4, 0]}), "accelerator.search.encoder_divisors.1: expected greater"),
        (searching(budget={"luts": 100}), "accelerator.budget: no accelerator fits: the least of the search needs"),
        ({**START, "encoder_widths": [None, 999]}, "accelerator: fc1: encoder width 999: expected 1 to 64"),
        ({**START, "encoder_widths": [None]}, "accelerator: encoder_widths has 1 entries; expected 2: conv1, fc1"),
        ({**START, "encoder_widths": [4, None]}, "accelerator: encoder_widths.0 = 4: conv1 is dense and has"),
        ({**START, "device": "mine.yaml"}, "accelerator.device: a study names a device, not a file; known: "),
    ],
)  # fmt: skip
def test_what_a_study_cannot_ask_for(accelerator: dict[str, Any], words: str) -> None:
    line = problem_of(accelerator)
    assert line.startswith("s.yaml:")
    assert line.partition(": ")[2].startswith(words), line


def test_the_most_fps_per_watt_needs_a_known_static_power() -> None:
    objectives = ["accuracy", "latency_ms"]
    line = problem_of(searching("xc7z020"), objectives=objectives)
    assert "accelerator.report: device xc7z020: static power is unknown" in line
    assert make_study(accelerator=searching("xc7z020", report="min_latency"), search=NO_CORES, objectives=objectives)


@pytest.mark.parametrize("name", ["accelerator.neural_cores.1", "accelerator.encoder_widths.1"])
def test_cores_are_not_searched_in_two_ways_at_once(name: str) -> None:
    section = {**searching(), "encoder_widths": [None, 32]}
    line = problem_of(section, search={**NO_CORES, name: {"choice": [2, 5]}}, baseline={"beta": 0.25, name: 5})
    assert f"search.{name}: every trial chooses it for itself" in line
    other = {**NO_CORES, "accelerator.report": {"choice": ["min_latency", "max_fps_per_watt"]}}
    assert make_study(accelerator=searching(), search=other)


def test_too_many_accelerators_are_refused_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert searched_space(study_of()).size == len(divisors(4)) * len(divisors(10))
    monkeypatch.setitem(hardware.LARGEST_SPACE, "sequential", 11)
    assert "accelerator.search: 12 accelerators are too many for every trial" in problem_of(searching())
    assert make_study(accelerator=searching(schedule="ping_pong"), search=NO_CORES)


def test_a_budget_that_a_larger_network_breaks_names_the_network() -> None:
    networks = {**NO_CORES, "network": {"choice": ["4C3p1-MP2-10", "64C3p1-MP2-10"]}}
    wide = problem_of(searching(budget={"bram36": 4.0}), search=networks)
    assert "search.network: with network = 64C3p1-MP2-10: no accelerator fits" in wide


def test_tlm_takes_three_fully_connected_layers_and_nothing_else() -> None:
    section = {"neural_cores": [8, 4, 5], "device": "xc7z045", "mode": "tlm"}
    fields: dict[str, Any] = {"search": NO_CORES, "encoding": "rate", "network": "32-16-10"}
    assert make_study(accelerator=section, **fields).accelerator.mode == "tlm"
    line = problem_of({**START, "mode": "tlm"})
    assert "accelerator: mode 'tlm' describes networks of three fully connected layers, got dense-fc" in line


# --- the hash ----------------------------------------------------------------------------------------------------


def test_a_study_stored_before_these_fields_has_the_same_hash() -> None:
    stored = json.loads(parse_study(STUDY_YAML).model_dump_json(by_alias=True))
    for name in ("encoder_widths", "search", "budget", "report"):
        del stored["accelerator"][name]
    old = Study.model_validate_json(json.dumps(stored))
    assert old.frozen()["accelerator"] == stored["accelerator"]
    spelled = parse_study(STUDY_YAML.replace("xc7z045}", "xc7z045, search: null, report: max_fps_per_watt}"))
    assert old.frozen_hash() == parse_study(STUDY_YAML).frozen_hash() == spelled.frozen_hash()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"search": {}}, "accelerator.search.neural_cores: (absent) -> all"),
        ({"encoder_widths": [None, 32]}, "accelerator.encoder_widths.1: (absent) -> 32"),
    ],
)
def test_a_search_decides_results(change: dict[str, Any], path: str) -> None:
    before, after = make_study(search=NO_CORES), make_study(accelerator={**START, **change}, search=NO_CORES)
    assert before.frozen_hash() != after.frozen_hash()
    assert path in differences(before, after)


def test_budget_and_report_decide_results() -> None:
    one = make_study(accelerator=searching(), search=NO_CORES)
    assert one.frozen_hash() != make_study(accelerator=searching(budget={"dsp": 90}), search=NO_CORES).frozen_hash()
    assert one.frozen_hash() != make_study(accelerator=searching(report="min_latency"), search=NO_CORES).frozen_hash()
    assert Study.model_validate_json(one.model_dump_json(by_alias=True)) == one
    assert one.resolve({"beta": 0.5}).accelerator == one.accelerator


# --- what a trial finds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["sequential", "ping_pong"])
@pytest.mark.parametrize("budget", [None, {"luts": 3500, "dsp": 40}])
@pytest.mark.parametrize("report", ["min_latency", "max_fps_per_watt"])
def test_the_reported_accelerator_is_the_best_of_all_that_fit(schedule: str, budget: Any, report: str) -> None:
    search = {"encoder_divisors": [2, 4, 8]}
    study = study_of(searching(search=search, budget=budget, report=report, schedule=schedule))
    limits = budget or {}
    fitting = [
        (chosen, simulation)
        for chosen, simulation in every_simulation(study)
        if simulation.fits_device
        and all(getattr(simulation.resources, part) <= limit for part, limit in limits.items())
    ]
    size = searched_space(study).size
    assert 0 < len(fitting) < size if budget else len(fitting) == size
    result = score_of(study)
    if report == "min_latency":
        assert result.values["latency_ms"] == min(simulation.latency_ms for _, simulation in fitting)
    else:
        assert result.values["fps_per_watt"] == max(simulation.fps_per_watt for _, simulation in fitting)
    assert result.details["accelerator_chosen"] in [chosen.model_dump(mode="json") for chosen, _ in fitting]
    assert (result.details["fits_device"], result.details["fits_budget"]) == (True, True)


def test_a_budget_changes_what_is_chosen() -> None:
    free = score_of(study_of(searching(report="min_latency")))
    tight = score_of(study_of(searching(report="min_latency", budget={"dsp": 25})))
    assert tight.values["latency_ms"] > free.values["latency_ms"]
    assert tight.details["hardware"]["resources"]["dsp"] <= 25 < free.details["hardware"]["resources"]["dsp"]


@pytest.mark.parametrize("schedule", ["sequential", "ping_pong"])
def test_the_trade_off_holds_what_no_other_accelerator_beats(schedule: str) -> None:
    study = study_of(searching(schedule=schedule))
    pairs = [(simulation.latency_ms, simulation.energy_j.mean() * 1e6) for _, simulation in every_simulation(study)]
    beaten = {
        pair for pair, other in product(pairs, pairs) if other[0] <= pair[0] and other[1] <= pair[1] and other != pair
    }
    best = set(pairs) - beaten
    points = score_of(study).details["hardware_front"]
    found = [(point["latency_ms"], point["energy_uj"]) for point in points]
    assert sorted(found) == [pytest.approx(pair, rel=1e-12) for pair in sorted(best)]
    assert [point["latency_ms"] for point in points] == sorted(point["latency_ms"] for point in points)
    assert all(point["fps_per_watt"] == pytest.approx(1e6 / point["energy_uj"]) for point in points)


def test_the_details_are_json_and_say_out_of_how_many() -> None:
    details = score_of(study_of(searching(budget={"bram36": 30.5}))).details
    assert json.loads(json.dumps(details, allow_nan=False)) == details
    assert details["hardware_search"]["accelerators"] == 12
    assert details["hardware_search"]["limits"]["bram36"] == 30.5
    assert details["hardware_search"]["shortage"] is None
    assert details["accelerator_chosen"]["encoder_widths"][0] is None
    assert set(details["hardware_front"][0]) == {
        "neural_cores", "encoder_widths", "latency_ms", "fps_per_watt", "energy_uj",
        "luts", "flip_flops", "bram36", "uram", "dsp",
    }  # fmt: skip


def test_without_a_search_nothing_changes() -> None:
    study = study_of(START)
    result = score_of(study)
    assert result.hardware_front is None
    assert not {"accelerator_chosen", "hardware_front", "hardware_search", "fits_budget"} & result.details.keys()
    fixed = study_of().with_accelerator(ChosenAccelerator(neural_cores=(2, 5), encoder_widths=(None, None)))
    assert score_of(fixed) == result


def test_where_nothing_fits_the_least_accelerator_is_scored_and_breaks_the_budget() -> None:
    study = study_of(searching(budget={"luts": 100}))
    result = score_of(study)
    assert result.details["accelerator_chosen"]["neural_cores"] == [1, 1]
    least = study.with_accelerator(ChosenAccelerator(neural_cores=(1, 1), encoder_widths=(None, None)))
    assert result.values == score_of(least).values
    assert (result.details["fits_device"], result.details["fits_budget"]) == (True, False)
    assert "luts: at least" in result.details["hardware_search"]["shortage"]
    assert result.details["hardware_front"] == []
    assert result.hardware_front is not None
    assert rows(result.hardware_front) == []


def test_the_baseline_accelerator_is_the_one_in_the_study() -> None:
    study = study_of()
    fixed = study.with_accelerator(ChosenAccelerator(neural_cores=(2, 5), encoder_widths=(None, None)))
    expected = {name: score_of(fixed).values[name] for name in ("latency_ms", "fps_per_watt")}
    assert score_of(study, baseline=study).on_baseline_accelerator == expected


def test_the_same_activity_finds_the_same() -> None:
    study = study_of(searching(search={"encoder_divisors": [1, 2, 4, 8]}))
    assert score_of(study) == score_of(study)


def test_the_chosen_accelerator_is_what_the_front_builds() -> None:
    study = study_of(searching(search={"encoder_divisors": [2, 8]}))
    found = search_accelerators(study, counts_of(study))
    built = accelerator_of(study.with_accelerator(found.chosen))
    assert built == found.front.build(found.front.best("max_fps_per_watt"))


def test_an_unknown_static_power_leaves_the_energies_out() -> None:
    section = searching("xc7z020", report="min_latency")
    result = score_of(study_of(section, objectives=["accuracy", "latency_ms"]))
    assert set(result.values) == {"accuracy", "latency_ms"}
    (point,) = result.details["hardware_front"]
    assert not {"fps_per_watt", "energy_uj"} & point.keys()
    assert result.hardware_front is not None
    assert "energy_uj" not in rows(result.hardware_front)[0]
    with pytest.raises(DeviceError, match="static power is unknown"):
        score_of(study_of(searching("xc7z020"), objectives=["accuracy", "latency_ms"]))


# --- the artifact ------------------------------------------------------------------------------------------------


def test_the_whole_front_comes_back_from_its_bytes() -> None:
    study = study_of(searching(search={"encoder_divisors": [2, 4]}))
    front = search_accelerators(study, counts_of(study)).front
    data = dump(front)
    read = rows(data)
    assert len(read) == len(front) > len(front.trade_off())
    assert [row["latency_ms"] for row in read] == (front.latency_s * 1e3).tolist()
    assert [[row["cores conv1"], row["cores fc1"]] for row in read] == front.neural_cores.tolist()
    assert [row["encoder fc1"] for row in read] == front.encoder_widths[:, 1].tolist()
    assert "encoder conv1" not in read[0]  # dense
    assert [row["bram36"] for row in read] == front.bram36.tolist()
    assert dump(front) == data


@pytest.mark.parametrize("data", [b"", b"torn", None])
def test_bytes_that_are_no_front_are_refused(data: bytes | None) -> None:
    if data is None:
        data = Training(study_of(START), 1, make_data()).weights()
    with pytest.raises(CheckpointError, match="not a whole hardware front"):
        rows(data)


def test_a_torn_front_is_refused() -> None:
    study = study_of()
    data = dump(search_accelerators(study, counts_of(study)).front)
    with pytest.raises(CheckpointError, match="not a whole hardware front"):
        rows(data[:-1])


# --- the test set ------------------------------------------------------------------------------------------------


def test_the_test_set_chooses_nothing() -> None:
    study, data = study_of(), make_data()
    training = Training(study, 5, data)
    training.run_epoch(lambda: False)
    weights = training.weights()
    with pytest.raises(SpecError, match="the test set chooses nothing"):
        score_test(study, weights, data, seed=5)
    chosen = ChosenAccelerator(neural_cores=(4, 2), encoder_widths=(None, 16))
    fixed = study.with_accelerator(chosen)
    result = score_test(fixed, weights, data, seed=5, baseline=study)
    simulation = simulate(
        accelerator_of(fixed),
        record(training.network, data.test.images, data.test.labels, encoding="direct", seed=5).counts,
    )
    assert result.values["latency_ms"] == simulation.latency_ms
    assert [(core.cores, getattr(core, "penc", None)) for core in simulation.accelerator.layers] == [(4, None), (2, 16)]


def test_a_silent_network_finds_an_accelerator_too() -> None:
    study = study_of()
    network = build_network(study, describe("digits"), 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    result = score(study, network, IMAGES, LABELS, seed=0, baseline=None)
    assert result.values["latency_ms"] < score_of(study).values["latency_ms"]
    assert result.details["hardware_front"]
