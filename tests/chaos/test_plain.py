"""The control: plain Optuna under the same faults and demands. It has to fail, or the suite is blunt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from sqlalchemy import make_url

from storage.embedded import EmbeddedPostgres
from tests.support.faults import FAULTS, Fault
from tests.support.plain_worker import STUDY
from tests.support.postgres import eventually
from tests.support.processes import Started, prepare
from tests.support.scene import ROOT, Member, Scene, end

pytestmark = pytest.mark.full

ASKED = 24
SETTLE_S = 40.0


def kill_all_for_good(scene: Scene) -> None:
    """Nobody is left to take the trials over; a server would."""
    scene.kill(*scene.members, again=False)


ROWS: dict[str, Fault] = {
    name: FAULTS[name]
    for name in (
        "kill -9 of a worker",
        "kill -9 of two workers",
        "kill -9 of all workers, one new worker",
        "kill -9 of a worker, twelve times",
        "SIGSTOP of two workers past their lease",
        "Postgres restarted fast",
        "Postgres restarted immediately",
        "kill -9 of Postgres, 3 s down",
        "Postgres down past the leases",
        "backends terminated",
        "all connection slots taken",
        "database link cut",
        "database link refused 3 s",
        "database link stalled 8 s",
        "database link delayed",
        "commit done, reply lost",
        "commit lost",
    )
} | {"kill -9 of all workers, nobody for two leases": kill_all_for_good}


class Plain(Scene):
    """Three workers of Optuna on one database, behind the same proxy, started again when they die."""

    def begin(self) -> None:
        """Create the study and start the workers."""
        (self.folder / "checkpoints").mkdir()
        optuna.create_study(study_name=STUDY, storage=self.url, direction="maximize")
        for number in range(self.workers):
            self.members[f"w{number}"] = Member(f"w{number}", self._plain, self._plain())

    def _plain(self) -> Started:
        self._lives += 1
        path = self.folder / "logs" / f"{self._lives:03}.log"
        through = make_url(self.url).set(host="127.0.0.1", port=self.to_database.port)
        words = [through.render_as_string(hide_password=False), str(self.asked), str(self.folder / "told")]
        with path.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.plain_worker", *words, str(self.folder / "checkpoints")],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=prepare,
            )
        return Started(process, path, path)

    def findings(self) -> str:
        """What our own service may not do, in the words of the table; empty when nothing of it happened."""
        trials = optuna.load_study(study_name=STUDY, storage=self.url).get_trials()
        states = Counter(trial.state.name for trial in trials)
        retried = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
        dropped = [trial.number for trial in trials if trial.state.name == "FAIL" and trial.number not in retried]
        told = [json.loads(line) for path in (self.folder / "told").iterdir() for line in path.read_text().splitlines()]
        values = {trial.number: trial.value for trial in trials}
        lost = [entry for entry in told if entry["value"] is not None and values[entry["number"]] != entry["value"]]
        found = {
            f"{states['COMPLETE']} complete": states["COMPLETE"] != self.asked,
            f"{states['RUNNING']} running for ever": states["RUNNING"] > 0,
            f"{len(dropped)} dropped": bool(dropped),
            f"{len(self.died)} died": bool(self.died),
            f"{len(lost)} lost": bool(lost),
        }
        return ", ".join(words for words, is_so in found.items() if is_so)


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    """What was found, by row."""
    return {}


@pytest.mark.parametrize("name", ROWS)
def test_plain_optuna_under_a_fault(
    postgres: EmbeddedPostgres,
    empty_url: str,
    tmp_path: Path,
    name: str,
    found: dict[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    with Plain(tmp_path / "scene", postgres, empty_url, ASKED) as scene:
        scene.begin()
        scene.wait_for_trials(2)
        before = scene.harm
        ROWS[name](scene)
        assert scene.harm > before, "the fault met nothing"
        scene.to_database.heal()

        def is_over() -> bool:
            scene.tend()
            return not scene.names()

        eventually(is_over, "the workers have left", SETTLE_S)
        for member in scene.members.values():
            end(member.started)
        found[name] = scene.findings()
    record_property("fault", name)
    record_property("plain", found[name] or "nothing found")


def test_plain_optuna_fails_most_rows_that_we_pass(found: dict[str, str]) -> None:
    if found.keys() != ROWS.keys():
        pytest.skip("the other rows were not run")
    assert sum(map(bool, found.values())) > len(ROWS) / 2
