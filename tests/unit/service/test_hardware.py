"""A trained network on other accelerators: the same figures as its score, the whole space swept, bad files refused."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwmodel.errors import AcceleratorError
from hwmodel.sensitivity import Change
from hwmodel.simulate import simulate
from objectives.data import load_dataset
from objectives.errors import CheckpointError, SpecError
from objectives.hardware import accelerator_of
from objectives.score import score
from objectives.spec import Study
from objectives.train import Training
from service import hardware
from service.errors import NotFound
from service.hardware import Sensitivity, Sweep, Trained, front_csv, record_activity, swept, trained_file
from tests.support.studies import make_study

SEED = 5


def exported(folder: Path, study: Study, *, is_checkpoint: bool = False) -> Path:
    """A network as drawn by its seed, as `export --trial` or a training writes it, with its settings."""
    training = Training(study, SEED, load_dataset(study.dataset, folder))
    file = folder / "net.safetensors"
    file.write_bytes(training.state() if is_checkpoint else training.weights())
    (folder / "settings.json").write_text(json.dumps(study.model_dump(mode="json", by_alias=True)))
    return file


def scored(study: Study, folder: Path) -> dict[str, Any]:
    """The hardware report that a trial with this network would store."""
    data = load_dataset(study.dataset, folder)
    network, valid = Training(study, SEED, data).network, data.validation
    done = score(study, network, valid.images, valid.labels, seed=SEED, baseline=None)
    report: dict[str, Any] = done.details["hardware"]
    return report


def simulated(trained: Trained, folder: Path) -> dict[str, Any]:
    return simulate(accelerator_of(trained.settings), record_activity(trained, folder).counts).report()


CODINGS: list[dict[str, Any]] = [
    {},
    {"encoding": "latency"},
    {"encoding": "rate"},
    {"accelerator": {"neural_cores": [2, 5], "device": "xc7z045", "input": "rate"}},
]


@pytest.mark.parametrize("fields", CODINGS, ids=["direct", "latency", "rate", "rate on the accelerator only"])
def test_an_exported_network_has_the_figures_of_its_score(tmp_path: Path, fields: dict[str, Any]) -> None:
    study = make_study(threshold=0.3, **fields)
    trained = trained_file(exported(tmp_path, study), SEED)
    assert trained.settings == study
    report = simulated(trained, tmp_path)
    assert report == scored(study, tmp_path)
    assert report["layers"][1]["spikes_per_image"] > 0


def test_random_input_depends_on_the_seed(tmp_path: Path) -> None:
    trained = trained_file(exported(tmp_path, make_study(encoding="rate")), SEED)
    assert simulated(replace(trained, seed=6), tmp_path) != simulated(trained, tmp_path)


def test_the_seed_comes_from_the_exported_scores_unless_it_is_given(tmp_path: Path) -> None:
    file = exported(tmp_path, make_study())
    assert trained_file(file, None).seed == 0
    (tmp_path / "scores.json").write_text('{"seed": 12}')
    assert trained_file(file, None).seed == 12
    assert trained_file(file, 3).seed == 3


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seed": "x"}'])
def test_scores_without_a_seed_are_refused(tmp_path: Path, text: str) -> None:
    file = exported(tmp_path, make_study())
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(SpecError, match=r"scores.json: has no readable seed .*; give --seed"):
        trained_file(file, None)


def test_a_checkpoint_of_a_training_is_as_good_as_exported_weights(tmp_path: Path) -> None:
    study = make_study(threshold=0.3)
    assert simulated(trained_file(exported(tmp_path, study, is_checkpoint=True), SEED), tmp_path) == scored(
        study, tmp_path
    )


def test_images_are_the_first_ones(tmp_path: Path) -> None:
    trained = trained_file(exported(tmp_path, make_study(threshold=0.3)), SEED)
    few, all_of_them = record_activity(trained, tmp_path, 7), record_activity(trained, tmp_path)
    assert [len(counts) for counts in few.counts] == [7, 7]
    assert np.array_equal(few.counts[1], all_of_them.counts[1][:7])


def test_threads_are_as_before(tmp_path: Path) -> None:
    trained = trained_file(exported(tmp_path, make_study()), SEED)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        record_activity(trained, tmp_path, 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# --- files that are no use -----------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"gone\.safetensors: cannot be read: No such file"):
        trained_file(tmp_path / "gone.safetensors", SEED)


def test_without_settings_it_says_where_they_come_from(tmp_path: Path) -> None:
    file = exported(tmp_path, make_study())
    (tmp_path / "settings.json").unlink()
    with pytest.raises(NotFound, match=r"no readable settings\.json .* spikefront export STUDY --trial N --output"):
        trained_file(file, SEED)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{}", "study: is missing; add it"), ("[", "settings.json: the file: "), ('{"study": 3}', "settings.json: study")],
)
def test_settings_that_are_none_are_refused(tmp_path: Path, text: str, words: str) -> None:
    file = exported(tmp_path, make_study())
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(SpecError) as caught:
        trained_file(file, SEED)
    assert words in str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    trained = trained_file(exported(tmp_path, make_study()), SEED)
    other = trained.settings.model_copy(update={"network": "8C3p1-MP2-10"})
    with pytest.raises(CheckpointError, match="the weights do not fit the network 8C3p1-MP2-10 of its settings"):
        record_activity(replace(trained, settings=other), tmp_path)


@pytest.mark.parametrize("is_checkpoint", [False, True])
def test_a_torn_file_is_refused(tmp_path: Path, is_checkpoint: bool) -> None:
    file = exported(tmp_path, make_study(), is_checkpoint=is_checkpoint)
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        trained_file(file, SEED)


def test_an_altered_checkpoint_is_refused(tmp_path: Path) -> None:
    file = exported(tmp_path, make_study(), is_checkpoint=True)
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="does not match its content"):
        trained_file(file, SEED)


# --- sweep ---------------------------------------------------------------------------------------------------------


def sweep_of(folder: Path, budget: dict[str, float], **fields: Any) -> Sweep:
    trained = trained_file(exported(folder, make_study(threshold=0.3, **fields)), SEED)
    activity = record_activity(trained, folder, 20)
    return swept(trained, activity, budget=budget, encoder_divisors=(4, 8))


def every_accelerator(sweep: Sweep) -> list[Any]:
    """All accelerators of the space of 4C3p1-MP2-10: 3 x 4 numbers of cores, 2 encoders of fc1."""
    conv, fc = sweep.accelerator.layers
    assert fc.kind == "fc"
    return [
        replace(sweep.accelerator, layers=(replace(conv, cores=one), replace(fc, cores=other, penc=width)))
        for one, other, width in product((1, 2, 4), (1, 2, 5, 10), (32, 64))
    ]


def test_those_that_fit_are_counted_one_by_one(tmp_path: Path) -> None:
    free = sweep_of(tmp_path, {})
    every = [simulate(each, free.activity.counts).resources for each in every_accelerator(free)]
    assert free.fit == free.front.swept == len(every) == 24
    luts, brams = sorted(used.luts for used in every)[12], sorted(used.bram36 for used in every)[12]
    tight = sweep_of(tmp_path, {"luts": luts, "bram36": brams})
    fitting = [used for used in every if used.luts <= luts and used.bram36 <= brams]
    assert tight.fit == len(fitting)
    assert 0 < len(fitting) < len(every)


def test_a_space_too_large_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "COUNTED", 3)
    sweep = sweep_of(tmp_path, {})
    assert sweep.fit is None
    assert sweep.front.swept > 3


def test_a_row_has_the_figures_of_a_simulation(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {})
    own, report = sweep.own(), simulate(sweep.accelerator, sweep.activity.counts).report()
    assert (own["point"], own["is_own"], own["fits"]) == (None, True, True)
    assert own["neural_cores"] == [2, 5]
    assert own["encoder_widths"][0] is None
    assert (own["latency_ms"], own["latency_p95_ms"]) == (report["latency_ms"]["mean"], report["latency_ms"]["p95"])
    assert (own["fps_per_watt"], own["energy_uj"]) == (report["fps_per_watt"], report["energy_uj"])
    assert own["utilisation"] == report["resources"]["utilisation"]


def test_own_accelerator_may_be_too_large(tmp_path: Path) -> None:
    own = sweep_of(tmp_path, {}).own()
    tight = sweep_of(tmp_path, {"luts": own["luts"] - 1})
    assert not tight.own()["fits"]
    assert all(row["luts"] < own["luts"] and row["fits"] for row in tight.rows(20))


def test_rows_lead_from_the_fastest_to_the_most_efficient(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {}, accelerator={"neural_cores": [2, 5], "device": "xc7z045", "schedule": "ping_pong"})
    rows, points = sweep.rows(50), sweep.front.trade_off()
    assert [row["point"] for row in rows] == points.tolist()
    assert len(rows) >= 2
    for name, way in (("latency_ms", 1), ("energy_uj", -1)):
        column = [way * row[name] for row in rows]
        assert column == sorted(column)
    best = sweep.best()
    assert best["min_latency"]["latency_ms"] == rows[0]["latency_ms"]
    assert best["max_fps_per_watt"]["fps_per_watt"] == rows[-1]["fps_per_watt"]
    assert sweep.report("max_fps_per_watt")["fps_per_watt"] == rows[-1]["fps_per_watt"]
    assert [row["point"] for row in sweep.rows(2)] == [points[0], points[-1]]


def test_unknown_static_power_leaves_the_latency(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {}, accelerator={"neural_cores": [2, 5], "device": "xc7z020"},
                     objectives=["accuracy", "latency_ms"])  # fmt: skip
    assert list(sweep.best()) == ["min_latency"]
    assert sweep.own()["fps_per_watt"] is None
    assert "fps_per_watt" not in next(csv.reader(io.StringIO(front_csv(sweep.front))))
    json.dumps(sweep.document(20), allow_nan=False)


def test_a_budget_that_nothing_fits_says_what_is_short(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"luts": 10})
    assert (sweep.fit, sweep.rows(20)) == (0, [])
    with pytest.raises(AcceleratorError, match="luts: at least"):
        sweep.document(20)


def test_the_table_of_the_front_has_every_point(tmp_path: Path) -> None:
    front = sweep_of(tmp_path, {}).front
    rows = list(csv.DictReader(io.StringIO(front_csv(front))))
    assert len(rows) == len(front)
    assert [float(row["latency_ms"]) for row in rows] == (front.latency_s * 1e3).tolist()
    assert rows[0]["encoder conv1"] == ""
    assert [int(rows[0]["cores conv1"]), int(rows[0]["cores fc1"])] == front.neural_cores[0].tolist()


# --- sensitivity ---------------------------------------------------------------------------------------------------


def test_a_summary_has_the_worst_of_all_changes() -> None:
    changes = [Change(0.5, 1.0, size=6, stay=4, leave=1, enter=2), Change(1.0, 1.0, size=5, stay=5, leave=0, enter=0)]
    found = Sensitivity("digits", trials=9, size=5, changes=changes)
    assert found.summary() == "Of 5 points at least 4 stay; at most 1 leave and 2 enter."
    assert found.document()["changes"][0] == {
        "static_factor": 0.5, "events_factor": 1.0, "size": 6, "stay": 4, "leave": 1, "enter": 2,
    }  # fmt: skip


def test_a_front_that_does_not_move_says_so() -> None:
    found = Sensitivity("digits", trials=9, size=5, changes=[Change(1.5, 1.0, size=5, stay=5, leave=0, enter=0)] * 9)
    assert found.summary() == "The front stays the same in all 9 cases."
