"""Optuna as it comes: a worker of the control, with the same made-up training and no more than its documentation says.

    python -m tests.support.plain_worker URL ASKED LOG CHECKPOINTS

Heartbeat, retry of failed trials, and a budget of complete trials; checkpoints lie in a folder. What `tell` stored, or
what it seemed to store, is written to the side log after it returned.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import MaxTrialsCallback
from optuna.trial import FrozenTrial, Trial, TrialState

from tests.support import chain
from tests.support.chaos_training import STEP_S

HEARTBEAT_S, GRACE_S = 1, 3
STUDY = "plain"


def main() -> None:
    """Work until enough trials are complete."""
    url, asked, log, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    told = os.open(log / f"{os.getpid()}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def objective(trial: Trial) -> float:
        beta, threshold = trial.suggest_float("beta", 0.05, 0.95), trial.suggest_float("threshold", 0.25, 2.5)
        first = RetryHeartbeatStaleTrialCallback.retried_trial_number(study.get_trials(deepcopy=False)[trial.number])
        state = folder / str(trial.number if first is None else first)
        steps = int(state.read_text()) if state.exists() else 0
        for number in range(steps + 1, chain.STEPS + 1):
            time.sleep(STEP_S)
            part = state.with_suffix(f".{os.getpid()}")
            part.write_text(str(number))
            part.replace(state)
        return chain.values(chain.after(chain.STEPS, 0, beta, threshold))["accuracy"]

    def acknowledged(study: optuna.Study, trial: FrozenTrial) -> None:
        entry: dict[str, Any] = {"number": trial.number, "value": trial.value}
        os.write(told, (json.dumps(entry) + "\n").encode())
        os.fsync(told)

    storage = RDBStorage(
        url,
        engine_kwargs={"pool_pre_ping": True},
        heartbeat_interval=HEARTBEAT_S,
        grace_period=GRACE_S,
        failed_trial_callback=RetryHeartbeatStaleTrialCallback(),
    )
    study = optuna.load_study(study_name=STUDY, storage=storage, sampler=optuna.samplers.RandomSampler())
    enough = MaxTrialsCallback(asked, states=(TrialState.COMPLETE,))
    study.optimize(objective, callbacks=[acknowledged, enough])


if __name__ == "__main__":
    main()
