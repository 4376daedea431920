"""`make bench-service`: what the study server costs, against plain Optuna on the same Postgres.

random-0, random-5k, nsga2-0, nsga2-5k, tpe-5k-default, tpe-5k-multivariate
            trials per second of sixteen workers, like for like, at studies of 0 and 5,000 trials (`service_like.py`)
rung        what a rung report costs the server (`service_rung.py`)
tpe-ask     what a suggestion of TPE costs at 5,000 trials, against plain Optuna's (`service_ask.py`)
flat        what a suggestion costs from 500 to 50,000 trials (`service_flat.py`)
join, start how soon a worker and a server are at work in a study of 50,000 trials (`service_start.py`)
1000-workers  a thousand workers at one server, and how many more it bears (`service_crowd.py`)
dashboard-poll  what the dashboard's poll costs at 10,000 trials (`service_poll.py`)
growth      bytes that a trial sends, and leaves in the database (`service_growth.py`)
detection   how soon the trial of a killed worker is leased again (`service_detection.py`)

`.venv/bin/python -m tests.bench.service --only random-0,rung` runs some of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

import optuna

from tests.bench.bars import Bar, report
from tests.bench.service_ask import ask_bars
from tests.bench.service_crowd import crowd_bars
from tests.bench.service_detection import detection_bars
from tests.bench.service_flat import flat_bars
from tests.bench.service_growth import growth_bars
from tests.bench.service_like import CASES, like_bar
from tests.bench.service_poll import poll_bars
from tests.bench.service_rung import rung_bar
from tests.bench.service_start import join_bars, start_bars
from tests.bench.training_workers import busy

PARTS: dict[str, Callable[[], list[Bar]]] = {
    **{case.name: partial(lambda case: [like_bar(case)], case) for case in CASES},
    "rung": lambda: [rung_bar()],
    "tpe-ask": ask_bars,
    "flat": flat_bars,
    "join": join_bars,
    "start": start_bars,
    "1000-workers": crowd_bars,
    "dashboard-poll": poll_bars,
    "growth": growth_bars,
    "detection": detection_bars,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.service", description="Measure the study server.")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run, of {', '.join(PARTS)}")
    wanted = parser.parse_args().only.split(",")
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"--only: no part {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(busy(), flush=True)
    return report([bar for name in PARTS if name in wanted for bar in PARTS[name]()])


if __name__ == "__main__":
    sys.exit(main())
