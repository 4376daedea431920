"""`make bench-service`: what the study server costs, against plain Optuna on the same Postgres.

random-0, random-5k, nsga2-0, nsga2-5k, tpe-5k-default, tpe-5k-multivariate
            trials per second of sixteen workers, like for like, at studies of 0 and 5,000 trials (`service_like.py`)

`.venv/bin/python -m tests.bench.service --only random-0,rung` runs some of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

import optuna

from tests.bench.bars import Bar, report
from tests.bench.service_like import CASES, like_bar
from tests.bench.training_workers import busy

PARTS: dict[str, Callable[[], list[Bar]]] = {
    **{case.name: partial(lambda case: [like_bar(case)], case) for case in CASES},
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
