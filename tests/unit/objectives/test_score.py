from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from hwmodel.errors import HwmodelError
from hwmodel.simulate import simulate
from objectives.activity import record
from objectives.data import describe
from objectives.errors import CheckpointError
from objectives.hardware import accelerator_of
from objectives.network import SpikingNetwork, build_network
from objectives.score import Score, bound, score, score_test
from objectives.spec import Study
from objectives.train import Training
from tests.unit.objectives.factory import make_data, make_images, make_labels, make_study

CORES = [2, 3, 4, 2]
IMAGES, LABELS = make_images(9), make_labels(9)


def study_of(**fields: Any) -> Study:
    accelerator = {"neural_cores": CORES, **fields.pop("accelerator", {})}
    return make_study(threshold=0.2, accelerator=accelerator, **fields)


def network_of(study: Study) -> SpikingNetwork:
    return build_network(study, describe("digits"), 1)


def score_of(study: Study, baseline: Study | None = None) -> Score:
    return score(study, network_of(study), IMAGES, LABELS, seed=3, baseline=baseline)


def test_the_values_are_those_of_the_recorded_activity() -> None:
    study = study_of()
    activity = record(network_of(study), IMAGES, LABELS, encoding="direct", seed=3)
    simulation = simulate(accelerator_of(study), activity.counts)
    values = score_of(study).values
    assert values == {
        "accuracy": activity.accuracy,
        "latency_ms": pytest.approx(float(np.mean(simulation.latency_s)) * 1e3),
        "fps_per_watt": pytest.approx(1 / float(np.mean(simulation.energy_j))),
        "energy_uj": pytest.approx(float(np.mean(simulation.energy_j)) * 1e6),
    }
    assert all(value > 0 for name, value in values.items() if name != "accuracy")


def test_details_are_json_and_complete() -> None:
    details = score_of(study_of()).details
    assert json.loads(json.dumps(details, allow_nan=False)) == details
    assert details["images"] == 9
    assert list(details["firing_rates"]) == ["conv1", "conv2", "fc1", "fc2"]
    assert details["first_layer"]["core"] == "dense"
    assert details["first_layer"]["input"] == "direct"
    assert 0 < details["first_layer"]["latency_share"] < 1
    assert details["neurobench"]["effective_macs"] > 0
    assert details["fits_device"] is True
    assert set(details["hazards"].values()) == {0}
    assert [layer["name"] for layer in details["hardware"]["layers"]] == ["conv1", "conv2", "fc1", "fc2"]


def test_a_repeat_scores_the_same() -> None:
    study = study_of(encoding="rate")
    assert score_of(study) == score_of(study)


def test_rate_coded_accelerator_input_is_evaluated_apart() -> None:
    same, rate = study_of(), study_of(accelerator={"input": "rate"})
    seen = record(network_of(rate), IMAGES, LABELS, encoding="rate", seed=3)
    result = score_of(rate)
    assert result.values["accuracy"] == score_of(same).values["accuracy"]
    assert result.values["latency_ms"] == pytest.approx(simulate(accelerator_of(rate), seen.counts).latency_ms)
    assert result.details["accuracy_under_accelerator_input"] == seen.accuracy
    assert result.details["firing_rates_under_accelerator_input"] == seen.firing_rates
    assert (result.details["first_layer"]["core"], result.details["first_layer"]["input"]) == ("sparse", "rate")
    assert "accuracy_under_accelerator_input" not in score_of(same).details


def test_a_rate_trained_network_is_evaluated_once() -> None:
    result = score_of(study_of(encoding="rate", accelerator={"input": "rate"}))
    assert "accuracy_under_accelerator_input" not in result.details
    assert result == score_of(study_of(encoding="rate"))


@pytest.mark.parametrize(("encoding", "kind"), [("direct", "dense"), ("rate", "conv"), ("latency", "conv")])
def test_the_first_core_follows_the_encoding(encoding: str, kind: str) -> None:
    accelerator = accelerator_of(study_of(encoding=encoding, accelerator={"clock_mhz": 250.0}))
    assert accelerator.layers[0].kind == kind
    assert accelerator.clock_hz == 250e6
    assert [core.cores for core in accelerator.layers] == CORES


def test_on_the_baseline_accelerator() -> None:
    study, baseline = study_of(beta=0.9), study_of(accelerator={"neural_cores": [1, 1, 1, 1]})
    own, moved = score_of(study, baseline), score_of(study_of(beta=0.9, accelerator={"neural_cores": [1, 1, 1, 1]}))
    assert own.on_baseline_accelerator == {name: moved.values[name] for name in ("latency_ms", "fps_per_watt")}
    assert own.on_baseline_accelerator["latency_ms"] > own.values["latency_ms"]
    assert score_of(study).on_baseline_accelerator is None


def test_a_baseline_with_another_network_has_no_accelerator_for_this_one() -> None:
    baseline = study_of(network="4C3p1-MP2-12-10", accelerator={"neural_cores": [1, 1, 1]})
    assert score_of(study_of(), baseline).on_baseline_accelerator is None


def test_cores_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(HwmodelError, match="conv2"):
        accelerator_of(study_of(accelerator={"neural_cores": [2, 4, 4, 2]}))


@pytest.mark.parametrize("pool", ["before_lif", "after_lif"])
def test_exported_weights_score_on_the_test_set(pool: str) -> None:
    study, data = study_of(pool=pool), make_data()
    training = Training(study, 5, data)
    training.run_epoch(lambda: False)
    result = score_test(study, training.weights(), data, seed=5)
    assert result == score(study, training.network, data.test.images, data.test.labels, seed=5, baseline=None)
    assert result.details["images"] == len(data.test.labels)


def test_weights_of_another_network_are_refused() -> None:
    data = make_data()
    weights = Training(make_study(network="8C3-10", accelerator={"neural_cores": [2, 2]}), 5, data).weights()
    with pytest.raises(CheckpointError, match="do not fit the network"):
        score_test(study_of(), weights, data, seed=5)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        score_test(study_of(), weights[:-1], data, seed=5)


def test_a_silent_network_scores_without_failing() -> None:
    study = study_of()
    network = network_of(study)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    result = score(study, network, IMAGES, LABELS, seed=0, baseline=None)
    assert result.details["silent_layers"] == ["conv1", "conv2", "fc1", "fc2"]
    assert result.values["latency_ms"] > 0
    assert result.values["latency_ms"] < score_of(study).values["latency_ms"]


def test_an_unknown_static_power_leaves_out_what_needs_it() -> None:
    study = study_of(objectives=["accuracy", "latency_ms"], accelerator={"device": "xc7z020"})
    scored = score_of(study, baseline=study)
    assert set(scored.values) == {"accuracy", "latency_ms"}
    assert scored.on_baseline_accelerator == {"latency_ms": scored.values["latency_ms"]}


CHAIN = {"network": "32-16-10", "encoding": "rate", "accelerator": {"mode": "tlm", "neural_cores": [2, 4, 2]}}
BOUNDED: list[dict[str, Any]] = [
    {"encoding": "direct"},
    {"encoding": "rate"},
    {"encoding": "latency", "accelerator": {"schedule": "ping_pong"}},
    {"encoding": "direct", "accelerator": {"input": "rate"}},
    CHAIN,
]


@pytest.mark.parametrize("fields", BOUNDED, ids=str)
def test_no_network_does_better_than_its_bound(fields: dict[str, Any]) -> None:
    """Whatever its weights: from silent to firing at every step."""
    study = study_of(**fields)
    for gain in (0.0, 0.3, 1.0, 3.0, 10.0):
        trained = network_of(study)
        with torch.no_grad():
            for weights in trained.parameters():
                weights.mul_(gain)
        best = bound(study, trained, IMAGES, LABELS, seed=3)
        reached = score(study, trained, IMAGES, LABELS, seed=3, baseline=None).values

        assert best is not None
        assert best.values["accuracy"] == 1.0 >= reached["accuracy"]
        assert best.values["latency_ms"] <= reached["latency_ms"]
        assert best.values["fps_per_watt"] >= reached["fps_per_watt"]
        assert best.values["energy_uj"] <= reached["energy_uj"]


def test_the_bound_does_not_depend_on_weights() -> None:
    study = study_of(encoding="rate")
    first, second = (build_network(study, describe("digits"), seed) for seed in (1, 2))

    assert bound(study, first, IMAGES, LABELS, seed=3) == bound(study, second, IMAGES, LABELS, seed=3)


def test_there_is_no_bound_where_lost_spikes_may_be_rewarded() -> None:
    study = study_of(accelerator={"mode": "rtl"})

    assert bound(study, network_of(study), IMAGES, LABELS, seed=3) is None
