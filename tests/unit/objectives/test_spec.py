"""The study file: what it refuses, in one line with the right line number, and what its hash covers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.errors import SpecError
from objectives.spec import FROZEN, Study, differences
from objectives.studyfile import changed, load_study, parse_study
from tests.support.studies import STUDY_YAML, make_study, study_text

ROOT = Path(__file__).parents[3]
ACCELERATOR = "{neural_cores: [2, 5], device: xc7z045}"


def _problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_study(text, "s.yaml")
    return str(caught.value).splitlines()


def _problem(old: str, new: str) -> str:
    """The one problem of the tiny study with `old` replaced by `new`."""
    assert STUDY_YAML.count(old) == 1, old
    found = _problems(STUDY_YAML.replace(old, new))
    assert len(found) == 1, found
    assert re.fullmatch(r"s\.yaml:\d+: .+: .+", found[0])
    return found[0]


def test_the_tiny_study_is_valid() -> None:
    study = parse_study(STUDY_YAML)
    assert (study.study, study.network, study.train.lr, study.directions) == (
        "tiny", "4C3p1-MP2-10", 0.005, ("maximize", "minimize", "maximize"),
    )  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_study_is_valid(path: Path) -> None:
    assert load_study(path).study == path.stem


def test_the_digits_study_is_shipped() -> None:
    assert load_study(ROOT / "studies" / "digits.yaml").dataset.name == "digits"


def test_a_number_such_as_2e_minus_3_is_a_float() -> None:
    assert parse_study(STUDY_YAML.replace("5.0e-3", "2e-3")).train.lr == 0.002


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "s.yaml:1: a study file is a mapping of fields such as `study: my-study`, got nothing"),
        ("# only a comment\n", "s.yaml:1: a study file is a mapping of fields"),
        ("- study: a\n", "s.yaml:1: a study file is a mapping of fields such as `study: my-study`, got a list"),
        ("digits\n", "s.yaml:1: a study file is a mapping of fields"),
        (STUDY_YAML.replace("loss:", "\tloss:"), "s.yaml:6: not valid YAML"),
        (STUDY_YAML.replace("[2, 5]", "[2, 5"), "s.yaml:8: not valid YAML"),
    ],
)
def test_what_is_no_mapping_or_no_yaml(text: str, words: str) -> None:
    (problem,) = _problems(text)
    assert problem.startswith(words)


@pytest.mark.parametrize(
    ("old", "new", "start"),
    [
        # keys
        ("loss: ce_rate", "los: ce_rate", "6: los: unknown key"),
        ("epochs: 2", "epoch: 2", "7: train.epoch: unknown key"),
        ("loss: ce_rate", "loss: ce_rate\nloss: ce_rate", "7: loss: this key stands twice"),
        ("time_steps: 4\n", "", "1: time_steps: is missing"),
        (ACCELERATOR, "{clock_mhz: 50}", "8: accelerator.neural_cores: is missing"),
        # scalars
        ("study: tiny", "study: Tiny Study", "1: study: expected 1 to 63 of a-z"),
        ("study: tiny", "study: ../etc", "1: study: expected 1 to 63 of a-z"),
        ("study: tiny", 'study: "tiny\\n"', "1: study: expected 1 to 63 of a-z"),
        ("study: tiny", f"study: {'a' * 64}", "1: study: expected 1 to 63 of a-z"),
        ("study: tiny", "study: 5", "1: study: expected a valid string, got 5"),
        ("time_steps: 4", "time_steps: 0", "5: time_steps: expected greater than or equal to 1, got 0"),
        ("time_steps: 4", "time_steps: 4.0", "5: time_steps: expected a valid integer, got 4.0"),
        ("time_steps: 4", "time_steps: true", "5: time_steps: expected a valid integer, got True"),
        ("lr: 5.0e-3", "lr: -0.1", "7: train.lr: expected greater than 0, got -0.1"),
        ("time_steps: 4", "time_steps: 4\nthreshold: 1e300", "6: threshold: expected less than or equal to 1000000"),
        ("lr: 5.0e-3", "lr: .nan", "7: train.lr: expected a finite number, got nan"),
        ("lr: 5.0e-3", "lr: .inf", "7: train.lr: expected a finite number, got inf"),
        ("lr: 5.0e-3", "lr: 1e999", "7: train.lr: expected a finite number, got inf"),
        ("name: digits", "name: imagenet", "2: dataset.name: expected 'digits', 'mnist', 'fashion-mnist', "),
        ("limit: 300", "split_seed: 4294967296", "2: dataset.split_seed: expected less than or equal to 4294967295"),
        ("dataset: {name: digits, limit: 300}", "dataset: digits", "2: dataset: expected a mapping, got 'digits'"),
        # network and accelerator
        ("4C3p1-MP2-10", "4X3-10", "3: network: token 1 '4X3' (column 1): expected a convolution"),
        ("4C3p1-MP2-10", "4C9-10", "3: network: token 1 '4C9' (column 1): the map is 8x8 here"),
        ("4C3p1-MP2-10", "4C3-MP7-10", "3: network: token 2 'MP7' (column 5): the map is 6x6 here"),
        ("4C3p1-MP2-10", "4C3p1-MP2-11", "3: network: the last layer has 11 neurons; expected a multiple of the 10"),
        ("4C3p1-MP2-10", "4C3p1-MP2", "3: network: the last layer is the convolution conv1; end with a number"),
        ("4C3p1-MP2-10", "99999999999999999999C3-10", "3: network: conv1 has 99999999999999999999"),
        ("4C3p1-MP2-10", "4C99999999p99999998-10", "3: network: conv1 has"),
        ("[2, 5]", "[3, 5]",
         "8: accelerator.neural_cores: neural_cores.0 = 3: conv1 has 4 output channels; use a divisor: 1, 2, 4"),
        ("[2, 5]", "[2, 3]",
         "8: accelerator.neural_cores: neural_cores.1 = 3: fc1 has 10 neurons; use a divisor: 1, 2, 5, 10"),
        ("[2, 5]", "[2]", "8: accelerator.neural_cores: neural_cores has 1 entries; expected 2: conv1, fc1"),
        ("[2, 5]", "[0, 5]", "8: accelerator.neural_cores.0: expected greater than or equal to 1, got 0"),
        ("xc7z045", "xc7z099", "8: accelerator.device: device 'xc7z099' is unknown; known: "),
        ("xc7z045", "xc7z020", "8: accelerator.device: device xc7z020: static power is unknown"),
        # objectives, constraints, budget
        ("[accuracy, latency_ms, fps_per_watt]", "[latency_ms, fps_per_watt]",
         "13: objectives: accuracy must be among"),
        ("[accuracy, latency_ms, fps_per_watt]", "[accuracy]", "13: objectives: name two or more different"),
        ("[accuracy, latency_ms, fps_per_watt]", "[accuracy, latency_ms, latency_ms]",
         "13: objectives: name two or more different"),
        ("[accuracy, latency_ms, fps_per_watt]", "[accuracy, speed]", "13: objectives.1: expected 'accuracy', "),
        ("{accuracy: 0.2}", "{accuracy: 1.0}", "14: constraints.floor: the accuracy floor is a share"),
        ("{accuracy: 0.2}", "{latency_ms: 1.0}", "14: constraints.floor: a floor holds for accuracy only"),
        ("seed: 1", "seed: -1", "15: sampler.seed: expected greater than or equal to 0, got -1"),
        ("name: tpe", "name: bayes", "15: sampler.name: expected 'tpe', 'nsga2', 'nsga3', 'gp', 'qmc'"),
        ("name: tpe", "name: grid", "10: search.beta: a grid needs choices, whole numbers or"),
        ("{trials: 4}", "{}", "16: budget: no limit given; set trials, epochs or hours"),
        ("{trials: 4}", "{max_failures: 2}", "16: budget: no limit given"),
        ("{trials: 4}", "{trials: 4, max_failures: 1000001}", "16: budget.max_failures: expected less than"),
        ("{trials: 4}", "{epochs: 1000000001}", "16: budget.epochs: expected less than or equal to"),
        ("{trials: 4}", "{hours: 1.0e+300}", "16: budget.hours: expected less than or equal to"),
        # baseline
        ("beta: 0.25", "beta: 0.99", "17: baseline.beta: 0.99 lies outside the search space; expected 0.05 to 0.95"),
        ("beta: 0.25", "beta: [1]", "17: baseline.beta: expected a finite number, text, true or false, got a list"),
        ("beta: 0.25", "beta: .nan", "17: baseline.beta: expected a finite number, text, true or false, got nan"),
        ("beta: 0.25", "beta: true", "17: baseline.beta: True lies outside the search space"),
        ("beta: 0.25", "bogus: 1", "17: baseline.bogus: is no dimension"),
        ("beta: 0.25", "alpha: 2.0", "17: baseline.alpha: is no dimension"),
        ("loss: ce_rate", "beta: 0.99\nloss: ce_rate", None),
    ],
)  # fmt: skip
def test_a_field_that_is_wrong(old: str, new: str, start: str | None) -> None:
    if start is None:  # the baseline says 0.25, so the study's own value does not matter
        parse_study(STUDY_YAML.replace(old, new))
    else:
        assert _problem(old, new).startswith(f"s.yaml:{start}")


def test_a_baseline_that_is_silent_takes_the_own_value_and_says_so() -> None:
    text = STUDY_YAML.replace("threshold: 1.0}", "accelerator.neural_cores.0: 4}").replace(
        "loss:", "threshold: 9.0\nloss:"
    )
    (problem,) = _problems(text)
    assert problem.startswith("s.yaml:18: baseline.threshold: 9.0 (the study's own value")
    assert make_study(baseline={"beta": 0.5}).baseline_params() == {
        "beta": 0.5, "threshold": 1.0, "accelerator.neural_cores.0": 2,
    }  # fmt: skip


def test_every_field_problem_is_a_line_of_its_own() -> None:
    text = STUDY_YAML.replace("name: digits, limit: 300", "name: x, limit: 3").replace("loss:", "los:")
    assert [line.partition(" ")[0] for line in _problems(text)] == ["s.yaml:2:", "s.yaml:2:", "s.yaml:6:"]


def test_the_line_is_the_one_of_the_field_in_a_block() -> None:
    block = (
        "{neural_cores: [2, 5], device: xc7z045}",
        "\n  preset: event-driven-2023\n  neural_cores:\n  - 3\n  - 5\n  device: x",
    )
    assert _problem(*block).startswith("s.yaml:10: accelerator.neural_cores: neural_cores.0 = 3")
    assert _problem(block[0], block[1].replace("- 3", "- 2")).startswith("s.yaml:13: accelerator.device: ")


def test_a_device_of_unknown_power_does_for_latency_alone() -> None:
    text = STUDY_YAML.replace("xc7z045", "xc7z020").replace(", fps_per_watt", "")
    assert parse_study(text).accelerator.device == "xc7z020"
    (problem,) = _problems(text.replace("latency_ms]", "energy_uj]"))
    assert problem.startswith("s.yaml:8: accelerator.device: device xc7z020: static power is unknown")
    for ceiling in ("energy_uj", "power_w"):
        (problem,) = _problems(_limited(text, f"{ceiling}: 1"))
        assert problem.startswith("s.yaml:8: accelerator.device: device xc7z020: static power is unknown")
    assert parse_study(_limited(text, "latency_ms: 1")).constraints.at_most == {"latency_ms": 1.0}


def _limited(text: str, ceiling: str) -> str:
    return text.replace("{floor: {accuracy: 0.2}}", f"{{floor: {{accuracy: 0.2}}, at_most: {{{ceiling}}}}}")


@pytest.mark.parametrize("ceiling", ["accuracy: 0.5", "latency_ms: 0", "power_w: -1", "latency_ms: fast"])
def test_a_ceiling_is_a_positive_number_for_a_cost(ceiling: str) -> None:
    assert _problems(_limited(STUDY_YAML, ceiling))[0].startswith("s.yaml:14: constraints.at_most")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, content, words in (
        (tmp_path / "none.yaml", None, "cannot be read"),
        (tmp_path / "latin.yaml", "é".encode("latin-1"), "is not UTF-8"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SpecError, match=words):
            load_study(path)


def test_resolve_writes_parameters_over_fields() -> None:
    resolved = make_study().resolve({"beta": 0.5, "train.lr": 0.1, "accelerator.neural_cores.0": 4})
    assert (resolved.beta, resolved.train.lr, resolved.accelerator.neural_cores) == (0.5, 0.1, (4, 5))


@pytest.mark.parametrize(
    "name", ["bogus", "train.bogus", "train.lr.x", "accelerator.neural_cores.9", "accelerator.neural_cores.-1",
             "accelerator.neural_cores.01", "accelerator.neural_cores. 1", "", "."],
)  # fmt: skip
def test_resolve_refuses_what_is_no_field(name: str) -> None:
    with pytest.raises(SpecError, match="no such field"):
        make_study().resolve({name: 1})


def test_hash_does_not_depend_on_the_order_of_keys_or_on_the_spelling_of_numbers() -> None:
    document = yaml.safe_load(STUDY_YAML)
    turned = yaml.safe_dump(dict(reversed(document.items())), sort_keys=False)
    assert parse_study(turned).frozen_hash() == parse_study(STUDY_YAML).frozen_hash()
    assert parse_study(STUDY_YAML.replace("5.0e-3", "0.005")).frozen_hash() == parse_study(STUDY_YAML).frozen_hash()


def test_hash_stays_what_it_was() -> None:
    """A change here strands every stored study: raise it only together with a migration."""
    assert parse_study(STUDY_YAML).frozen_hash() == HASH


HASH = "f16e4a8e8026225ef729476295b3956fbe4fe98dfaa16f88534d0d597907954f"

CHANGED: Mapping[str, Any] = {
    "dataset": {"name": "digits", "limit": 301}, "network": "4C3p1-AP2-10", "pool": "after_lif", "encoding": "latency",
    "time_steps": 5, "surrogate": "fast_sigmoid", "slope": 3.0, "alpha": 3.0, "beta": 0.3, "threshold": 1.1,
    "loss": "ce_count", "weight_bits": 8, "train": {"epochs": 3}, "accelerator": {"neural_cores": [2, 2]},
    "search": {"beta": {"range": [0.05, 0.9]}, "threshold": {"range": [0.25, 2.5]}},
    "objectives": ["accuracy", "latency_ms"], "constraints": {"floor": {"accuracy": 0.3}}, "baseline": {"beta": 0.26},
    "neuron": "lapicque", "reset": "zero", "learn": ["beta"], "escape": 2.0,
}  # fmt: skip


@pytest.mark.parametrize("field", CHANGED)
def test_every_frozen_field_is_in_the_hash_and_in_the_differences(field: str) -> None:
    before, after = make_study(), make_study(**{field: CHANGED[field]})
    assert before.frozen_hash() != after.frozen_hash()
    assert any(line.startswith(field) for line in differences(before, after))


def test_all_frozen_fields_are_tried_above() -> None:
    assert set(FROZEN) == set(CHANGED)


@pytest.mark.parametrize(
    ("field", "value"),
    [("budget", {"hours": 1.0}), ("sampler", {"name": "random", "seed": 9}), ("stopping", {"reduction": 4}),
     ("notes", "a note"), ("versions", "any")],
)  # fmt: skip
def test_the_other_fields_are_not_in_the_hash(field: str, value: Any) -> None:
    before, after = make_study(), make_study(**{field: value})
    assert before != after
    assert before.frozen_hash() == after.frozen_hash()
    assert differences(before, after) == []


def test_differences_name_path_and_both_values() -> None:
    after = make_study(train={"epochs": 3, "batch": 32, "lr": 5e-3, "max_minutes": 1.0}, baseline={"beta": 0.25})
    assert differences(make_study(), after) == [
        "baseline.threshold: 1.0 -> (absent)",
        "train.epochs: 2 -> 3",
        "train.max_minutes: None -> 1.0",
    ]


def test_changed_sets_what_may_change() -> None:
    study = changed(make_study(), {"budget.trials": 9, "sampler.name": "random", "notes": "x", "versions": "any"})
    assert (study.budget.trials, study.sampler.name, study.notes, study.versions) == (9, "random", "x", "any")


@pytest.mark.parametrize("name", [*FROZEN, "study", "train.lr", "search.beta"])
def test_changed_refuses_what_decides_results(name: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(name)}: decides results"):
        changed(make_study(), {name: 1})


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"budget.trials": 0}, "budget.trials: expected greater"),
        ({"budget.trial": 9}, "budget.trial: no such field"),
        ({"budget": 9}, "budget: expected a mapping"),
        ({"bogus": 9}, "bogus: no such field"),
        ({"sampler.name": "grid"}, "search.beta: a grid needs"),
    ],
)
def test_changed_refuses_what_is_not_valid(changes: dict[str, Any], start: str) -> None:
    with pytest.raises(SpecError) as caught:
        changed(make_study(), changes)
    assert str(caught.value).startswith(start)


def test_a_study_survives_its_own_json() -> None:
    study = load_study(ROOT / "studies" / "digits.yaml")
    assert Study.model_validate_json(study.model_dump_json(by_alias=True)) == study


_odd: st.SearchStrategy[Any] = st.sampled_from([
    None, True, -1, 0, 2**40, 1e308, float("nan"), float("inf"), "", "x", "grid", "99999999C3-10", [], {}, [[1]],
    {"range": [0.0, 1.0], "step": 5e-324}, {"int": [1, 10**12]}, {"choice": [None]}, {"log": [1, "a"]},
    {"choice": {"atan": {"choice": {}}}}, {"range": [-1e308, 1e308]},
])  # fmt: skip
_names = st.sampled_from([*Study.model_fields, "bogus", "accelerator.neural_cores.0", "train.lr", "range", "0", ""])


@given(st.lists(_names, min_size=1, max_size=3), _odd)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_any_value_at_any_place_is_read_or_refused(path: list[str], value: Any) -> None:
    document = yaml.safe_load(STUDY_YAML)
    place = document
    for name in path[:-1]:
        if not isinstance(place.get(name), dict):
            place[name] = {}
        place = place[name]
    place[path[-1]] = value
    _read_or_refuse(yaml.safe_dump(document))


@given(st.integers(0, len(STUDY_YAML) - 1), st.integers(0, 12), st.text("aA0.-:[]{},\n \t'é", max_size=6))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_any_damage_to_the_text_is_read_or_refused(at: int, length: int, instead: str) -> None:
    _read_or_refuse(STUDY_YAML[:at] + instead + STUDY_YAML[at + length :])


def _read_or_refuse(text: str) -> None:
    try:
        study = parse_study(text, "s.yaml")
    except SpecError as error:
        problems = str(error).splitlines()
    else:
        json.loads(study.model_dump_json())
        return
    assert all(re.match(r"s\.yaml:\d+: ", line) for line in problems)


def test_support_writes_the_study_it_reads() -> None:
    assert parse_study(study_text()) == parse_study(STUDY_YAML)
    assert parse_study(study_text("other", notes="n", sampler=None)).sampler.seed == 0
