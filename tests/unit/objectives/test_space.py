"""Dimensions of the search: their domains, their conditions, and what a study file refuses about them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.errors import SpecError
from objectives.space import Choice, Domain, Integer, Log, Range, Scalar, dimensions, grid_size, has_conditions, walk
from objectives.studyfile import parse_study
from tests.support.studies import STUDY_YAML, make_study

SURROGATE = "surrogate: {choice: {fast_sigmoid: {slope: {log: [1, 32]}}, atan: {alpha: {log: [1, 32]}}}}"


THREE_CORES = "accelerator.neural_cores.1 = 3: neural_cores.1 = 3: fc1 has 10 neurons; use a divisor: 1, 2, 5, 10"


def _with(*lines: str) -> str:
    """The tiny study with further dimensions from line 10 on."""
    return STUDY_YAML.replace("search:\n", "search:\n" + "".join(f"  {line}\n" for line in lines))


def _problem(*lines: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_study(_with(*lines), "s.yaml")
    found = str(caught.value).splitlines()
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("space", ["{}", ""])
def test_an_empty_space_is_refused(space: str) -> None:
    start = STUDY_YAML.index("search:")
    text = STUDY_YAML[:start] + f"search: {space}\n" + STUDY_YAML[STUDY_YAML.index("objectives:") :]
    with pytest.raises(SpecError, match=r"s\.yaml:9: search: (the search space is empty|expected a mapping)"):
        parse_study(text, "s.yaml")


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("train.foo: {range: [0, 1]}",
         "search.train.foo: 0.0 is not valid there: train.foo: no such field"),
        ("foo: {range: [0, 1]}", "search.foo: cannot be searched; dimensions lie in network, "),
        ("study: {choice: [a]}", "search.study: cannot be searched"),
        ("budget.trials: {int: [1, 2]}", "search.budget.trials: cannot be searched"),
        ("sampler.seed: {int: [1, 2]}", "search.sampler.seed: cannot be searched"),
        ("accelerator.neural_cores.7: {choice: [1]}", "search.accelerator.neural_cores.7: 1 is not valid there"),
        ("accelerator.neural_cores.-1: {choice: [1, 5]}", "search.accelerator.neural_cores.-1: 1 is not valid there"),
        ("accelerator.neural_cores: {choice: [1, 5]}", "search.accelerator.neural_cores: 1 is not valid there"),
        ("train: {choice: [1]}", "search.train: 1 is not valid there: train: expected a mapping, got 1"),
        ("alpha: {range: [3, 1]}", "search.alpha.range: range: the lower end 3 must be below the upper end 1"),
        ("alpha: {range: [3, 3]}", "search.alpha.range: range: the lower end 3 must be below the upper end 3"),
        ("alpha: {int: [3, 1]}", "search.alpha.int: int: the lower end 3 must be below the upper end 1"),
        ("alpha: {log: [3, 1]}", "search.alpha.log: log: the lower end 3 must be below the upper end 1"),
        ("alpha: {log: [0, 1]}", "search.alpha.log: log: the lower end must be above 0, got 0; use range"),
        ("alpha: {log: [-1, 1]}", "search.alpha.log: log: the lower end must be above 0, got -1"),
        ("alpha: {range: [3]}", "search.alpha.range: expected two values, the lower and the upper end"),
        ("alpha: {range: 3}", "search.alpha.range: expected a list, got 3"),
        ("alpha: {range: [1, a]}", "search.alpha.range.1: expected a valid number, got 'a'"),
        ("alpha: {range: [1, .inf]}", "search.alpha.range.1: expected a finite number, got inf"),
        ("alpha: {range: [1, .nan]}", "search.alpha.range.1: expected a finite number, got nan"),
        ("alpha: {range: [1, 2], stp: 1}", "search.alpha.range.stp: unknown key"),
        ("alpha: {range: [1, 3], step: 0}", "search.alpha.range.step: expected greater than 0, got 0"),
        ("alpha: {range: [1, 3], step: 1.0e-9}", "search.alpha.range: step: "),
        ("alpha: {range: [1, 3], step: 5.0e-324}", "search.alpha.range: step: "),
        ("alpha: {range: [1, 2], log: [1, 2]}", "search.alpha: expected {range: [low, high]}"),
        ("alpha: 3", "search.alpha: expected {range: [low, high]}"),
        ("alpha: {choice: []}", "search.alpha.choice: choice: no option given"),
        ("alpha: {choice: {}}", "search.alpha.choice: choice: no option given"),
        ("alpha: {choice: 3}", "search.alpha.choice: expected a list of options or a mapping of options, got 3"),
        ("alpha: {choice: abc}", "search.alpha.choice: expected a list of options or a mapping of options, got 'abc'"),
        ("alpha: {choice: [1.0, 1.0]}", "search.alpha.choice: choice: an option stands twice"),
        ("alpha: {choice: [.nan]}", "search.alpha.choice.0: expected a finite number, text, true or false, got nan"),
        ("alpha: {choice: [[1]]}", "search.alpha.choice.0: expected a finite number, text, true or false, got a list"),
        ("surrogate: {choice: [atan, nope]}", "search.surrogate: 'nope' is not valid there: surrogate: expected"),
        ("surrogate: {choice: {atan: {alpha: {log: [0, 3]}}}}",
         "search.surrogate.choice.atan.alpha.log: log: the lower"),
        ("surrogate: {choice: {atan: {alpha: 3}}}", "search.surrogate.choice.atan.alpha: expected {range"),
        ("surrogate: {choice: {atan: }}",
         "search.surrogate.choice.atan: expected a mapping of dimensions, got nothing"),
        ("surrogate: {choice: {atan: {bogus: {range: [1, 2]}}}}",
         "search.surrogate.choice.atan.bogus: cannot be searched"),
        ("surrogate: {choice: {atan: {surrogate: {choice: [atan]}}}}",
         "search.surrogate.choice.atan.surrogate: stands twice"),
        ("surrogate: {choice: {atan: {alpha: {choice: [1, -1]}}}}",
         "search.surrogate.choice.atan.alpha: -1 is not valid"),
        ("network: {choice: [4C3p1-MP2-10, 4C3p1-MP2-12]}",
         "search.network: with network = 4C3p1-MP2-12: the last layer"),
        ("network: {choice: [4C3p1-MP2-10, 4C9-10]}", "search.network: with network = 4C9-10: token 1"),
        ("time_steps: {int: [0, 3]}", "search.time_steps: 0 is not valid there: time_steps: expected greater"),
        ("time_steps: {range: [1, 3]}",
         "search.time_steps: 1.0 is not valid there: time_steps: expected a valid integer"),
        ("train.lr: {range: [-1, 0.1]}", "search.train.lr: -1.0 is not valid there: train.lr: expected greater"),
        ("accelerator.device: {choice: [xc7z045, x]}",
         "search.accelerator.device: with accelerator.device = x: device"),
        ("accelerator.device: {choice: [xc7z045, xc7z020]}",
         "search.accelerator.device: with accelerator.device = xc7z020"),
        ("accelerator.neural_cores.1: {choice: [5, 3]}", "search.accelerator.neural_cores.1: with "
         + THREE_CORES),
        ("accelerator.neural_cores.1: {int: [1, 5]}", "search.accelerator.neural_cores.1: with "
         + THREE_CORES),
        ("accelerator.neural_cores.1: {int: [1, 1000000000000]}",
         "search.accelerator.neural_cores.1: with accelerator"),
    ],
)  # fmt: skip
def test_a_dimension_that_is_wrong(line: str, start: str) -> None:
    assert _problem("train.batch: {int: [16, 64]}", line).startswith(f"s.yaml:11: {start}")


def test_the_line_of_a_nested_dimension_is_its_own() -> None:
    nested = ("surrogate:", "  choice:", "    atan:", "      beta: {range: [0, 1]}")
    assert _problem(*nested).startswith("s.yaml:14: search.beta: stands twice")  # the second one
    assert _problem(*nested[:3], "      alpha: {range: [2, 1]}").startswith("s.yaml:13: ")
    assert _problem(*nested[:3], "      alpha: {range: [-2, 1]}").startswith("s.yaml:13: ")


def test_one_name_under_choices_that_can_meet_is_refused() -> None:
    second = "pool: {choice: {before_lif: {alpha: {log: [1, 32]}}, after_lif: {}}}"
    assert "search.pool.choice.before_lif.alpha: stands twice" in _problem(SURROGATE, second)


def test_one_name_under_options_that_exclude_each_other_is_fine() -> None:
    text = _with("surrogate: {choice: {fast_sigmoid: {slope: {log: [1, 32]}}, atan: {slope: {log: [2, 64]}}}}")
    assert [name for name, _, _ in dimensions(parse_study(text).search)].count("slope") == 2


def test_one_name_must_be_one_kind_of_dimension() -> None:
    line = "surrogate: {choice: {fast_sigmoid: {slope: {log: [1, 32]}}, atan: {slope: {choice: [1.0, 2.0]}}}}"
    assert "search.surrogate.choice.atan.slope: is of another kind" in _problem(line)


CIRCUIT = "a lapicque neuron's beta lies above 0 and below 1 (as float32)"
NEURONS = "neuron: {choice: [lif, lapicque]}"
LAPICQUE = "neuron: lapicque\n"
EXCLUDED = "surrogate: {choice: {atan: {neuron: {choice: [lif, lapicque]}}, fast_sigmoid: {beta: {range: [0, 1]}}}}"
MEETING = ("surrogate: {choice: {atan: {neuron: {choice: [lif, lapicque]}}, fast_sigmoid: {}}}",
           "pool: {choice: {before_lif: {beta: {range: [0, 0.9]}}, after_lif: {}}}")  # fmt: skip


def _circuits(lines: Sequence[str], own: str = "") -> str:
    """The tiny study with these dimensions in the place of beta, and fields of its own."""
    text = STUDY_YAML.replace("  beta: {range: [0.05, 0.95]}\n", "".join(f"  {line}\n" for line in lines))
    return text.replace("baseline: {beta: 0.25, threshold: 1.0}\n", "") + own


@pytest.mark.parametrize(
    ("lines", "own", "start"),
    [
        ([], LAPICQUE + "beta: 0.0\n", f"17: beta: {CIRCUIT}, got 0; use one such as 0.5, or neuron: lif"),
        ([], LAPICQUE + "beta: 1\n", f"17: beta: {CIRCUIT}, got 1; use"),
        ([], LAPICQUE + "beta: 1.0e-40\n", f"17: beta: {CIRCUIT}, got 1e-40; use"),
        ([], LAPICQUE + "beta: 0.99999999\n", f"17: beta: {CIRCUIT}, got 1; use"),
        (["beta: {range: [0, 0.9]}"], LAPICQUE, f"10: search.beta: 0.0 is not valid there: beta: {CIRCUIT}, got 0"),
        (["beta: {choice: [0.5, 1.0]}"], LAPICQUE, f"10: search.beta: 1.0 is not valid there: beta: {CIRCUIT}"),
        ([NEURONS], "beta: 0.0\n", f"10: search.neuron: 'lapicque' is not valid there: beta: {CIRCUIT}, got 0; use"),
        ([NEURONS, "beta: {range: [0, 0.9]}"], "",
         f"9: search: beta may be 0 where neuron is lapicque, but {CIRCUIT}; narrow beta, such as to [0.05, 0.95], or"),
        (["beta: {range: [0.1, 1.0], step: 0.1}", NEURONS], "", "9: search: beta may be 1 where neuron is lapicque"),
        ([NEURONS, "beta: {choice: [0.5, 0.0, 0.25]}"], "", "9: search: beta may be 0 where neuron is lapicque"),
        ([NEURONS, "beta: {int: [0, 1]}"], "", "9: search: beta may be 0 where neuron is lapicque"),
        ([NEURONS, "beta: {log: [1.0e-300, 0.5]}"], "", "9: search: beta may be 1e-300 where neuron is lapicque"),
        (MEETING, "", "9: search: beta may be 0 where neuron is lapicque"),
        (["neuron: {choice: {lif: {}, lapicque: {beta: {range: [0, 1]}}}}"], "",
         f"10: search.neuron.choice.lapicque.beta: 0.0 is not valid there: beta: {CIRCUIT}"),
        ([NEURONS, "beta: {choice: [a]}"], "", "11: search.beta: 'a' is not valid there: beta: expected a valid"),
    ],
)  # fmt: skip
def test_a_beta_that_no_circuit_has_is_refused_wherever_it_meets_one(
    lines: Sequence[str], own: str, start: str
) -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(_circuits(lines, own), "s.yaml")
    assert str(caught.value).startswith(f"s.yaml:{start}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("lines", "own"),
    [
        ([NEURONS, "beta: {range: [0.05, 0.95]}"], ""),
        (["neuron: {choice: {lif: {beta: {range: [0, 1]}}, lapicque: {}}}"], ""),
        ([EXCLUDED], ""),
        (["neuron: {choice: [lif]}", "beta: {range: [0, 1]}"], ""),
        (["beta: {range: [0, 1]}"], ""),
        (["beta: {range: [1.0e-6, 0.999999]}"], LAPICQUE),
    ],
)
def test_a_beta_that_meets_no_circuit_or_suits_it_is_fine(lines: Sequence[str], own: str) -> None:
    study = parse_study(_circuits(lines, own))
    for name, domain, conditions in dimensions(study.search):
        for value in domain.corners():
            study.resolve({**conditions, name: value})


def test_a_grid_of_a_continuous_or_conditional_dimension_is_refused() -> None:
    for line in ("alpha: {range: [1, 2]}", "alpha: {log: [1, 2]}"):
        text = make_text(line)
        with pytest.raises(SpecError, match=r"s\.yaml:10: search\.alpha: a grid needs"):
            parse_study(text, "s.yaml")
    nested = make_text("surrogate: {choice: {atan: {alpha: {choice: [1.0, 2.0]}}}}")
    with pytest.raises(SpecError, match=r"s\.yaml:10: search\.surrogate\.choice\.atan\.alpha: a grid needs"):
        parse_study(nested, "s.yaml")


def test_a_grid_beyond_a_million_points_is_refused_at_once() -> None:
    text = make_text("train.epochs: {int: [1, 10000]}", "train.batch: {int: [1, 1000000000]}")
    with pytest.raises(SpecError, match=r"s\.yaml:9: search: a grid of [\d,]+ points"):
        parse_study(text, "s.yaml")


def make_text(*lines: str) -> str:
    """The tiny study as a grid over these dimensions alone."""
    start, end = STUDY_YAML.index("  beta: {range"), STUDY_YAML.index("objectives:")
    text = STUDY_YAML[:start] + "".join(f"  {line}\n" for line in lines) + STUDY_YAML[end:]
    return text.replace("name: tpe", "name: grid").replace("{beta: 0.25, threshold: 1.0}", "{}")


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        (Range(range=(0.0, 1.0)), [0.0, 1.0, 0.5, 1], [-0.1, 1.1, True, "0.5", float("nan")]),
        (Range(range=(0.0, 1.0), step=0.25), [0.0, 0.25, 1.0], [0.3, 1.25]),
        (Log(log=(1.0, 8.0)), [1.0, 8, 2.5], [0.9, 8.1, False, "x", float("nan")]),
        (Integer(int_=(2, 8), step=3), [2, 5, 8], [3, 9, -1, 2.0, True]),
        (Choice(choice=(1, "a", True)), [1, "a", True], [1.0, "b", False, 2]),
        (Choice(choice=(1.0, 2.0)), [1.0], [1, True]),
    ],
)
def test_a_domain_holds_what_lies_inside(domain: Domain, inside: list[Scalar], outside: list[Scalar]) -> None:
    assert all(domain.holds(value) for value in inside)
    assert not any(domain.holds(value) for value in outside)


def test_points_of_the_domains() -> None:
    assert Range(range=(0.0, 1.0), step=0.25).points() == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert Range(range=(0.0, 1.0), step=0.3).points() == pytest.approx((0.0, 0.3, 0.6, 0.9))
    assert list(Integer(int_=(2, 9), step=3).points()) == [2, 5, 8]
    assert Choice(choice=("a", 1)).points() == ("a", 1)
    assert Range(range=(0.0, 1.0)).points() is None
    unbounded: Domain = Log(log=(1.0, 2.0))
    assert unbounded.points() is None


@given(st.integers(-50, 50), st.integers(1, 60), st.integers(1, 9))
@settings(derandomize=True, deadline=None)
def test_an_integer_domain_holds_its_points_and_its_corners_are_among_them(low: int, span: int, step: int) -> None:
    domain = Integer(int_=(low, low + span), step=step)
    points = list(domain.points())
    assert [value for value in range(low - 2, low + span + 3) if domain.holds(value)] == points
    assert domain.corners() == (points[0], points[-1])


@given(st.floats(-5, 5), st.floats(0.1, 5), st.floats(0.01, 2))
@settings(derandomize=True, deadline=None)
def test_a_stepped_range_holds_its_points(low: float, span: float, step: float) -> None:
    domain = Range(range=(low, low + span), step=step)
    assert all(domain.holds(point) for point in domain.points() or ())


def test_conditions_are_followed_in_the_order_of_the_file() -> None:
    space = parse_study(_with(SURROGATE)).search
    assert has_conditions(space)
    picked = walk(space, lambda name, domain: "atan" if name == "surrogate" else domain.corners()[0])
    assert list(picked) == ["surrogate", "alpha", "beta", "threshold", "accelerator.neural_cores.0"]
    found = {name: conditions for name, _, conditions in dimensions(space)}
    assert found["slope"] == {"surrogate": "fast_sigmoid"}
    assert found["alpha"] == {"surrogate": "atan"}
    assert found["beta"] == {}


def test_grid_size() -> None:
    assert not has_conditions(make_study().search)
    assert grid_size(make_study().search) is None
    assert (
        grid_size({"a": Integer(int_=(1, 3)), "b": Choice(choice=("x", "y")), "c": Range(range=(0.0, 1.0), step=0.5)})
        == 18
    )
    assert grid_size({"a": Integer(int_=(1, 10**12))}) == 10**12
