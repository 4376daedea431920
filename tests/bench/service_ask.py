"""`service/tpe-ask`: CPU of a suggestion by multivariate TPE at 5,000 trials, beside plain Optuna in turns.

Both have the same history, sixteen trials that run, and the same seeds; each suggestion follows one trial that just
finished, and is to be the same. Plain Optuna has one sampler for all suggestions, as its users have, which spares it
to read the search space anew; it gets the seed of each suggestion.
"""

from __future__ import annotations

import statistics
import time
import warnings
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.trial import FrozenTrial, TrialState

from objectives.spec import Study
from objectives.studyfile import parse_study
from service.samplers import Mirror, seed_sequence
from storage.trials import CONSTRAINT, Suggestion
from tests.bench.bars import Bar
from tests.bench.service_load import searched
from tests.support.filler import GENERATION, POPULATION, distributions_of, drawn, scores

TRIALS, RUNNING, ASKS = 5_000, 16, 40
BAR = 0.55
WHEN = datetime(2024, 1, 1)


def history(study: Study, count: int, *, seed: int = 0) -> list[FrozenTrial]:
    """Finished trials of a study as its database has them, with scores made up; a tenth does not fit the device."""
    rng, distributions = np.random.default_rng(seed), distributions_of(study)
    values = scores(rng, count)
    floor = np.where(rng.uniform(size=count) < 0.1, 0.1, 0.2 - values[:, 0])
    columns = {name: drawn(rng, distribution, count) for name, distribution in distributions.items()}
    return [
        row_of(
            number,
            Suggestion(
                {name: distributions[name].to_external_repr(float(column[number])) for name, column in columns.items()},
                distributions,
                {f"{CONSTRAINT}floor": float(floor[number]), GENERATION: number // POPULATION},
            ),
            values[number].tolist(),
        )
        for number in range(count)
    ]


def row_of(number: int, suggestion: Suggestion, values: list[float] | None) -> FrozenTrial:
    """A trial as its row reads: complete with values, running without."""
    return FrozenTrial(
        number=number, trial_id=number, state=TrialState.COMPLETE if values else TrialState.RUNNING, value=None,
        values=values, datetime_start=WHEN,
        datetime_complete=WHEN if values else None, params=dict(suggestion.params),
        distributions=dict(suggestion.distributions), user_attrs={}, system_attrs=dict(suggestion.system_attrs),
        intermediate_values={},
    )  # fmt: skip


class Ours:
    """The server's mirror of the study."""

    def __init__(self, study: Study, rows: list[FrozenTrial]) -> None:
        self.mirror, self._running = Mirror(study), list[FrozenTrial]()
        for row in rows:
            self.mirror.follow(row)

    def ask(self) -> dict[str, Any]:
        """Begin a trial; its parameters."""
        number = self.mirror.known
        suggestion = self.mirror.suggest(number)
        self.mirror.asked(number, number)
        self._running.append(row_of(number, suggestion, None))
        return dict(suggestion.params)

    def end(self, values: list[float]) -> None:
        """The oldest running trial completes."""
        row = self._running.pop(0)
        row.state, row.values = TrialState.COMPLETE, values
        row.system_attrs = {**row.system_attrs, f"{CONSTRAINT}floor": -0.1}
        self.mirror.follow(row)


class Plain:
    """An Optuna study in memory."""

    def __init__(self, study: Study, rows: list[FrozenTrial]) -> None:
        self._spec, self._running = study, list[optuna.Trial]()
        self._distributions = distributions_of(study)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._sampler = TPESampler(multivariate=True, constant_liar=True)
        self._study = optuna.create_study(directions=list(study.directions), sampler=self._sampler)
        for row in rows:
            self._study.add_trial(row)
        self._asked = len(rows)

    def ask(self) -> dict[str, Any]:
        """Begin a trial; its parameters."""
        seed = seed_sequence(self._spec.sampler.seed, self._asked, stream=1).generate_state(1)[0]
        self._sampler._rng = LazyRandomState(int(seed))
        self._running.append(self._study.ask(self._distributions))
        self._asked += 1
        return self._running[-1].params

    def end(self, values: list[float]) -> None:
        """The oldest running trial completes."""
        trial = self._running.pop(0)
        trial.set_constraint("floor", -0.1)
        self._study.tell(trial, values)


def ask_bars() -> list[Bar]:
    """CPU of our suggestion, and of taking in the trial before it, over plain Optuna's; the median of many."""
    study = parse_study(searched("ask", "tpe"))
    rows, rng = history(study, TRIALS), np.random.default_rng(1)
    ours, plain = Ours(study, rows), Plain(study, rows)
    for side in (ours, plain):
        for _ in range(RUNNING):
            side.ask()
    pairs = [_in_turns(ours, plain, scores(rng, 1)[0].tolist()) for _ in range(ASKS)]
    ratio = statistics.median(our / their for our, their in pairs)
    mine, theirs = (1e3 * statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    print(f"tpe-ask: {TRIALS} trials, {RUNNING} running, {ASKS} suggestions, each the same on both sides")
    print(f"  ours   {mine:6.1f} ms CPU a suggestion\n  plain  {theirs:6.1f} ms\n  ratio  {ratio:.3f}", flush=True)
    return [Bar("service/tpe-ask", ratio, BAR, "x", at_least=False)]


def _in_turns(ours: Ours, plain: Plain, values: list[float]) -> tuple[float, float]:
    """CPU seconds of both for one trial that ends and one that begins."""
    spent, params = [], []
    for side in (ours, plain):
        began = time.process_time()
        side.end(values)
        params.append(side.ask())
        spent.append(time.process_time() - began)
    assert params[0] == params[1], f"ours suggests {params[0]}, plain Optuna {params[1]}"
    return spent[0], spent[1]
