"""`make bench-search`: how few epochs a search needs, against what users of Optuna run today.

digits, mnist   replays on the recorded tables (`search_table.py`, `search_replay.py`): hypervolume over epochs spent

`.venv/bin/python -m tests.bench.search --only digits --figure search.html` runs one of them and draws it.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import optuna
import plotly.graph_objects as go

from objectives.searchspec import StoppingSpec
from tests.bench.bars import Bar, report
from tests.bench.search_replay import Method, Ours, Plain, Run, Table, replay
from tests.bench.search_table import TABLES

SEEDS = 20
BARS = {"digits": 1 / 3, "mnist": 1 / 2}
"""Most of the best plain method's epochs."""

DEFAULT = StoppingSpec(name="skyband", reduction=2, grace_epochs=1)
"""As in `studies/digits.yaml`, with one loser in ten spared; fixed on digits before MNIST was looked at."""

MOASHA, MEDIAN = (DEFAULT.model_copy(update={"name": name}) for name in ("moasha", "median-front"))


def _tpe(seed: int, *, multivariate: bool | None) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, multivariate=multivariate)


PLAIN = [
    Method("Optuna TPE", lambda seed: Plain(_tpe(seed, multivariate=None))),
    Method("Optuna TPE, multivariate", lambda seed: Plain(_tpe(seed, multivariate=True))),
    Method("Optuna NSGA-II", lambda seed: Plain(optuna.samplers.NSGAIISampler(seed=seed))),
    Method("Optuna random", lambda seed: Plain(optuna.samplers.RandomSampler(seed=seed))),
]
OURS = [
    Method("spikefront TPE, none", lambda seed: Ours("tpe", seed)),
    Method("spikefront TPE, moasha", lambda seed: Ours("tpe", seed), MOASHA),
    Method("spikefront TPE, median-front", lambda seed: Ours("tpe", seed), MEDIAN),
    Method("spikefront TPE, skyband", lambda seed: Ours("tpe", seed), DEFAULT),
    Method("spikefront GP, none", lambda seed: Ours("gp", seed)),
    Method("spikefront GP, skyband (the default)", lambda seed: Ours("gp", seed), DEFAULT),
]


def table_bars(name: str, figure: Path | None) -> list[Bar]:
    """Replay every method on a table; the bars compare the default with the best plain method."""
    path = TABLES / f"{name}.npz"
    if not path.exists():
        reason = f"not recorded yet: python -m tests.bench.search_table {name} --var FOLDER"
        return [Bar(f"search/{name}", None, BARS[name], "x", at_least=False, reason=reason)]
    table = Table.load(path)
    runs = {method.name: [replay(table, method, seed) for seed in range(SEEDS)] for method in (*PLAIN, *OURS)}
    best = max((method.name for method in PLAIN), key=lambda plain: _final(runs[plain]))
    aim = _final(runs[best])
    print(f"{name}: {SEEDS} seeds, 8 workers, 100 trials; epochs until the median reaches {best}'s last, {aim:.4f}")
    print(f"  {'':38} {'final hypervolume':>24} {'epochs until then':>17} {'in all':>7} {'stopped':>8} {'wrong':>6}")
    for method, found in runs.items():
        print(_line(method, found, aim))
    if figure is not None:
        _figure(name, runs).write_html(figure, include_plotlyjs="cdn")
    default = OURS[-1].name
    share = _reached(runs[default], aim) / _reached(runs[best], aim)
    return [
        Bar(f"search/{name}", share, BARS[name], "x", at_least=False),
        Bar(f"search/{name}-hypervolume", _final(runs[default]) / aim, 1.0, "x"),
    ]


def _final(runs: Sequence[Run]) -> float:
    return _median(run.volumes[-1] for run in runs)


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def _reached(runs: Sequence[Run], volume: float) -> float:
    """Epochs after which the median over the runs has a hypervolume; infinite if never."""
    epochs = np.unique(np.concatenate([run.spent for run in runs]))
    (above,) = np.nonzero(np.median([_curve(run, epochs) for run in runs], axis=0) >= volume)
    return float(epochs[above[0]]) if above.size else np.inf


def _line(name: str, runs: Sequence[Run], aim: float) -> str:
    stopped, wrong = (sum(getter) for getter in ((len(run.stopped) for run in runs), (run.wrong for run in runs)))
    spent = _median(run.spent[-1] for run in runs)
    share = f"{wrong / stopped:6.1%}" if stopped else "     –"
    low, middle, high = np.quantile([run.volumes[-1] for run in runs], [0.25, 0.5, 0.75])
    reached = _reached(runs, aim)
    until = f"{reached:.0f}" if np.isfinite(reached) else "never"
    return (
        f"  {name:38} {f'{middle:.4f} ({low:.4f} to {high:.4f})':>24} "
        f"{until:>17} {spent:7.0f} {stopped / len(runs):8.1f} {share}"
    )


def _figure(name: str, runs: dict[str, list[Run]]) -> go.Figure:
    """Median hypervolume over epochs, with quartiles."""
    figure = go.Figure()
    for method, found in runs.items():
        epochs = np.arange(0, max(run.spent[-1] for run in found) + 1, 10)
        curves = np.array([_curve(run, epochs) for run in found])
        low, middle, high = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
        figure.add_scatter(x=epochs, y=middle, name=method, mode="lines")
        band = {"x": [*epochs, *epochs[::-1]], "y": [*high, *low[::-1]], "fill": "toself", "opacity": 0.15}
        figure.add_scatter(**band, line={"width": 0}, showlegend=False, hoverinfo="skip")
    figure.update_layout(title=f"{name}: hypervolume on the seed that the search did not see", template="plotly_white",
                         xaxis_title="epochs of training, all workers", yaxis_title="hypervolume")  # fmt: skip
    return figure


def _curve(run: Run, epochs: np.ndarray) -> np.ndarray:
    """Hypervolume at these epochs; 0 before the first complete trial."""
    places = np.searchsorted(run.spent, epochs, side="right") - 1
    return np.where(places >= 0, np.array(run.volumes)[np.maximum(places, 0)], 0.0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search", description="Replay searches.")
    parser.add_argument("--only", default=",".join(BARS), help=f"tables to replay on, of {', '.join(BARS)}")
    parser.add_argument("--figure", type=Path, help="HTML file for the curves; of the last table")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return report([bar for name in asked.only.split(",") for bar in table_bars(name, asked.figure)])


if __name__ == "__main__":
    sys.exit(main())
