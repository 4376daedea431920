"""Suggestions: repeatable from a seed and an order of completions, whether the mirror is warm or rebuilt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from objectives.space import grid_size
from objectives.spec import Study
from service.gp import Improvement
from service.samplers import GRID_INDEX, Mirror, grid_point, training_seed
from storage.trials import CONSTRAINT, Suggestion
from tests.support.studies import make_study

SAMPLERS = ("tpe", "nsga2", "nsga3", "qmc", "random", "grid")
FLAT: Mapping[str, Any] = {
    "beta": {"range": [0.0, 1.0], "step": 0.25},
    "train.epochs": {"int": [1, 4]},
    "accelerator.neural_cores.0": {"choice": [1, 2, 4]},
}
CONDITIONAL: Mapping[str, Any] = {
    "surrogate": {"choice": {"fast_sigmoid": {"slope": {"log": [0.5, 32.0]}}, "atan": {"alpha": {"log": [0.5, 32.0]}}}},
    "beta": {"range": [0.05, 0.95]},
    "train.lr": {"log": [1e-3, 1e-1]},
}
FIRST_ID = 700  # ids in the database have nothing to do with numbers


def _study(name: str, space: Mapping[str, Any], seed: int = 3) -> Study:
    return make_study(sampler={"name": name, "seed": seed}, search=dict(space), baseline={})


class Desk:
    """A study's rows, as the database would hold them, and the mirror that follows them."""

    def __init__(self, study: Study, *, ahead: int = 3, rebuild: bool = False) -> None:
        self.study, self.rebuild, self.ahead = study, rebuild, ahead
        self.rows: list[FrozenTrial] = []
        self.mirror = Mirror(study)

    def play(self, count: int) -> list[dict[str, Any]]:
        """Create `count` trials; each is finished once `ahead` more were created. Returns the parameters."""
        for _ in range(count):
            self.create()
            done = len(self.rows) - 1 - self.ahead
            if done >= 0:
                self.finish(done)
        return [dict(row.params) for row in self.rows]

    def create(self, fixed: Mapping[str, Any] | None = None) -> Suggestion:
        if self.rebuild:
            self.mirror = Mirror(self.study)
            for row in self.rows:
                self.mirror.follow(row)
        number = self.mirror.known
        assert number == len(self.rows)
        suggestion = self.mirror.suggest(number, fixed)
        self.mirror.asked(FIRST_ID + number, number)
        self.rows.append(_row(number, suggestion))
        return suggestion

    def finish(self, number: int) -> None:
        """Most trials complete, some infeasible; every seventh fails."""
        row = self.rows[number]
        values = None if number % 7 == 6 else _values(row.params, number)
        row.state = TrialState.FAIL if values is None else TrialState.COMPLETE
        row.values = values
        row.datetime_complete = datetime(2024, 1, 1, 0, number % 60, 1)
        if values is not None:
            row.system_attrs = {**row.system_attrs, f"{CONSTRAINT}floor": 0.85 - values[0]}
        self.mirror.follow(row)


def _row(number: int, suggestion: Suggestion) -> FrozenTrial:
    return FrozenTrial(
        number=number, trial_id=FIRST_ID + number, state=TrialState.RUNNING, value=None, values=None,
        datetime_start=datetime(2024, 1, 1), datetime_complete=None, params=dict(suggestion.params),
        distributions=dict(suggestion.distributions), user_attrs={}, system_attrs=dict(suggestion.system_attrs),
        intermediate_values={},
    )  # fmt: skip


def _values(params: Mapping[str, Any], number: int) -> list[float]:
    beta = float(params["beta"])
    return [1 - (beta - 0.4) ** 2 - 0.05 * (number % 3), 1 + beta, 10 - 4 * beta + number % 5]


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_seed_and_same_completions_give_the_same_trials(name: str) -> None:
    space = FLAT if name == "grid" else CONDITIONAL
    first, again = Desk(_study(name, space)).play(24), Desk(_study(name, space)).play(24)
    assert first == again
    assert Desk(_study(name, space, seed=4)).play(24) != first


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("space", [FLAT, CONDITIONAL], ids=["flat", "conditional"])
def test_a_mirror_rebuilt_from_the_rows_suggests_bit_equally(name: str, space: Mapping[str, Any]) -> None:
    if name == "grid":
        space = FLAT
    warm, cold = Desk(_study(name, space)), Desk(_study(name, space), rebuild=True)
    assert warm.play(24) == cold.play(24)
    assert [row.system_attrs for row in warm.rows] == [row.system_attrs for row in cold.rows]


def test_the_order_of_completions_matters_to_a_sampler_that_learns() -> None:
    assert Desk(_study("tpe", FLAT), ahead=0).play(24) != Desk(_study("tpe", FLAT), ahead=5).play(24)


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random"])
def test_conditions_are_respected(name: str) -> None:
    for params in Desk(_study(name, CONDITIONAL)).play(24):
        knob = "slope" if params["surrogate"] == "fast_sigmoid" else "alpha"
        assert list(params) == ["surrogate", knob, "beta", "train.lr"]
        assert 0.5 <= params[knob] <= 32


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_suggestion_lies_inside_and_resolves(name: str) -> None:
    study = _study(name, FLAT)
    desk = Desk(study)
    for params in desk.play(30):
        assert all(study.search[key].holds(value) for key, value in params.items())
        study.resolve(params)
    assert any(row.state is TrialState.FAIL for row in desk.rows)
    assert any(row.state is TrialState.RUNNING for row in desk.rows)


@pytest.mark.parametrize("name", SAMPLERS)
def test_enqueued_parameters_are_kept_and_the_rest_is_sampled(name: str) -> None:
    desk = Desk(_study(name, FLAT))
    desk.play(12)
    suggestion = desk.create({"beta": 0.75, "train.epochs": 2})
    assert (suggestion.params["beta"], suggestion.params["train.epochs"]) == (0.75, 2)
    assert suggestion.params["accelerator.neural_cores.0"] in (1, 2, 4)
    assert "fixed_params" not in suggestion.system_attrs


def test_an_enqueued_trial_that_waits_keeps_its_number() -> None:
    desk = Desk(_study("tpe", FLAT))
    desk.play(3)
    waiting = _row(3, Suggestion({}, {}, {"fixed_params": {"beta": 0.5}}))
    waiting.state = TrialState.WAITING
    desk.mirror.follow(waiting)
    assert desk.mirror.known == 4
    suggestion = desk.mirror.suggest(3, {"beta": 0.5})
    desk.mirror.asked(FIRST_ID + 3, 3)
    assert suggestion.params["beta"] == 0.5
    assert desk.mirror.known == 4
    assert FIRST_ID + 3 in desk.mirror.open_ids


def test_the_mirror_knows_numbers_and_what_is_open() -> None:
    desk = Desk(_study("random", FLAT), ahead=2)
    desk.play(6)
    assert desk.mirror.known == 6
    assert desk.mirror.open_ids == [FIRST_ID + 4, FIRST_ID + 5]
    desk.finish(4)
    desk.mirror.follow(desk.rows[4])  # again: nothing happens
    assert desk.mirror.open_ids == [FIRST_ID + 5]
    assert desk.mirror.known == 6


def test_the_sampler_sees_what_was_finished_since_the_last_suggestion() -> None:
    """With one trial open, another's end must change what TPE suggests next."""
    ends = []
    for good in (0, 1):
        desk = Desk(_study("tpe", {"beta": {"range": [0.05, 0.95]}}), ahead=0)
        desk.play(14)
        desk.create()
        row = desk.rows[-1]
        row.state, row.values = TrialState.COMPLETE, [float(good), 2.0 - good, 5.0 + 30 * good]
        row.system_attrs = {**row.system_attrs, f"{CONSTRAINT}floor": -0.1}
        desk.mirror.follow(row)
        ends.append([desk.create().params["beta"] for _ in range(6)])
    assert ends[0] != ends[1]


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_a_grid_covers_every_point_once_a_cycle_in_the_order_of_its_seed(seed: int) -> None:
    study = _study("grid", FLAT, seed)
    size = grid_size(study.search)
    assert size == 5 * 4 * 3
    points = [tuple(grid_point(study, index).items()) for index in range(2 * size)]
    assert len(set(points[:size])) == size
    assert points[size:] == points[:size]
    assert points != sorted(points)


def test_the_order_of_a_grid_depends_on_the_seed() -> None:
    first, second = ([grid_point(_study("grid", FLAT, seed), index) for index in range(60)] for seed in (1, 2))
    assert first != second
    assert Counter(map(str, first)) == Counter(map(str, second))


def test_enqueued_trials_take_no_place_in_the_grid() -> None:
    study = _study("grid", FLAT)
    desk = Desk(study, rebuild=True)
    desk.create(study.baseline_params())
    for index in range(60):
        if index == 30:
            desk.create({"beta": 0.25})
        assert desk.create().params == grid_point(study, index)
    places = [row.system_attrs[GRID_INDEX] for row in desk.rows if GRID_INDEX in row.system_attrs]
    assert places == list(range(60))


def test_training_seeds() -> None:
    own = make_study(sampler={"seed": 5})
    fixed = make_study(sampler={"seed": 5}, train={"epochs": 2, "seed": "fixed"})
    seeds = [training_seed(own, number) for number in range(200)]
    assert len(set(seeds)) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert {training_seed(fixed, number) for number in range(5)} == {seeds[0]}
    assert training_seed(own, 3) == seeds[3]
    assert training_seed(make_study(sampler={"seed": 6}), 3) != seeds[3]


def test_distributions_are_those_of_the_suggestions() -> None:
    study = make_study(search={**FLAT, **CONDITIONAL, "beta": {"range": [0.0, 1.0], "step": 0.25}}, baseline={})
    suggestion = Mirror(study).suggest(0)
    assert suggestion.distributions["beta"] == FloatDistribution(0.0, 1.0, step=0.25)
    assert suggestion.distributions["train.lr"] == FloatDistribution(1e-3, 1e-1, log=True)
    assert suggestion.distributions["train.epochs"] == IntDistribution(1, 4)
    assert suggestion.distributions["surrogate"] == CategoricalDistribution(("fast_sigmoid", "atan"))


def test_qmc_covers_the_space_more_evenly_than_random() -> None:
    space = {"beta": {"range": [0.0, 1.0]}, "threshold": {"range": [0.5, 1.5]}}

    def discrepancy(name: str) -> float:
        params = Desk(_study(name, space)).play(64)
        return float(qmc.discrepancy([[point["beta"], point["threshold"] - 0.5] for point in params]))

    assert discrepancy("qmc") < discrepancy("random") / 4


def test_a_gaussian_process_suggests_and_repeats_itself() -> None:
    first, again = (Desk(_study("gp", FLAT)).play(16) for _ in range(2))

    assert first == again
    assert first != Desk(_study("tpe", FLAT)).play(16)


def test_a_gaussian_process_that_is_too_slow_hands_over_to_tpe(monkeypatch: pytest.MonkeyPatch) -> None:
    modelled = []
    suggest = Improvement.suggest
    monkeypatch.setattr(Improvement, "suggest", lambda self, seed: modelled.append(seed) or suggest(self, seed))
    slow = make_study(sampler={"name": "gp", "seed": 3, "limit_s": 1e-9}, search=dict(FLAT), baseline={})

    Desk(slow).play(40)

    assert len(modelled) == 1


def test_a_gaussian_process_walks_conditional_spaces_and_goes_on_after_a_restart() -> None:
    study = _study("gp", CONDITIONAL)

    played = Desk(study).play(20)

    assert played == Desk(study, rebuild=True).play(20)
    assert all(("slope" in params) == (params["surrogate"] == "fast_sigmoid") for params in played)


def test_a_gaussian_process_begins_no_configuration_twice_while_others_are_left() -> None:
    """Four by five by three configurations, of which the startup may draw some twice."""
    modelled = Desk(_study("gp", FLAT)).play(40)[14:]

    assert len({repr(params) for params in modelled}) == len(modelled)
