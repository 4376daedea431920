"""Is what workers were told stored, bit for bit, once, and nothing left over? By SQL against the side logs.

`audit` knows nothing of how the database came to be as it is: it reads tables, files and logs, and names violations.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, text

from storage.engine import create_engine
from tests.support import chain
from tests.support.chaos_training import curve_point
from tests.support.sidelog import Entry, read

RUNGS = (1, 3)
"""Epochs at which a trial of four reports, as studies have it that say nothing about stopping."""

Kind = Literal["count", "dropped", "stuck", "duplicate", "lost", "altered", "repeated", "dead"]


@dataclass(frozen=True)
class Violation:
    """A promise that was broken.

    Kinds: `count` (not as many trials as asked), `dropped` (a trial failed though nothing was wrong with it), `stuck`
    (a trial or lease that nobody will end), `duplicate` (a number, value or result twice, or two outcomes of one trial
    acknowledged), `lost` (acknowledged, not stored), `altered` (stored with other bits), `repeated` (a step done again
    although a later checkpoint was acknowledged), `dead` (a process that ended by itself).
    """

    kind: Kind
    what: str


@dataclass
class Trial:
    """What the database holds of a trial."""

    trial_id: int
    number: int
    state: str
    seed: int | None
    fence: int | None
    is_open: bool
    params: dict[str, float] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    epochs: dict[int, tuple[float, float]] = field(default_factory=dict)
    rungs: dict[int, dict[str, float]] = field(default_factory=dict)
    decisions: dict[int, str] = field(default_factory=dict)
    results: list[Any] = field(default_factory=list)

    def truth(self, steps: int = chain.STEPS) -> str:
        """What its training came to after `steps`."""
        assert self.seed is not None
        return chain.after(steps, self.seed, self.params["beta"], self.params["threshold"])


@dataclass
class Record:
    """A study as the database holds it."""

    state: str
    objectives: list[str]
    trials: dict[int, Trial]


def audit(
    url: str, study: str, asked: int, logs: Path, artifacts: Path | None = None, died: Sequence[str] = ()
) -> list[Violation]:
    """Every violation, in the order of the kinds' severity to a reader: first what is missing.

    Args:
        url: Of the database.
        study: Its name.
        asked: Trials that its budget allows.
        logs: Folder of the side logs.
        artifacts: The server's folder of weights; None leaves them out.
        died: Processes that ended by themselves, in words.
    """
    record, entries = load(url, study), read(logs)
    found = [*_whole(record, asked), *_true(record, artifacts), *_kept(record, entries), *_steps(entries)]
    return [*found, *(Violation("dead", words) for words in died)]


def load(url: str, study: str) -> Record:
    """The rows of a study."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            row = connection.execute(
                text(
                    "SELECT study_id, state, spec->'objectives' AS objectives FROM spikefront.study WHERE name = :name"
                ),
                {"name": study},
            ).one()
            return Record(row.state, list(row.objectives), _trials(connection, row.study_id))
    finally:
        engine.dispose()


def _trials(connection: Connection, study_id: int) -> dict[int, Trial]:
    def rows(query: str) -> Iterator[Any]:
        return iter(connection.execute(text(query), {"study": study_id}))

    of_study = "JOIN public.trials t USING (trial_id) WHERE t.study_id = :study"
    found = {
        row.trial_id: Trial(row.trial_id, row.number, row.state, row.seed, row.fence, row.is_open)
        for row in rows(
            "SELECT t.trial_id, t.number, t.state::text AS state, l.seed, l.fence, "
            "l.trial_id IS NULL OR l.ended_at IS NULL AS is_open FROM public.trials t "
            "LEFT JOIN spikefront.lease l USING (trial_id) WHERE t.study_id = :study ORDER BY t.number, t.trial_id"
        )
    }
    for row in rows(f"SELECT p.* FROM public.trial_params p {of_study}"):
        found[row.trial_id].params[row.param_name] = row.param_value
    for row in rows(f"SELECT v.* FROM public.trial_values v {of_study} ORDER BY v.objective"):
        found[row.trial_id].values.append(row.value)
    for row in rows(f"SELECT e.* FROM spikefront.epoch e {of_study}"):
        found[row.trial_id].epochs[row.epoch] = (row.loss, row.accuracy)
    for row in rows(f"SELECT r.* FROM spikefront.rung r {of_study}"):
        found[row.trial_id].rungs[row.rung] = row.values
        found[row.trial_id].decisions[row.rung] = row.decision
    for row in rows(f"SELECT r.* FROM spikefront.result r {of_study}"):
        found[row.trial_id].results.append(row)
    return found


def _whole(record: Record, asked: int) -> Iterator[Violation]:
    """As many trials as asked, each ended once."""
    numbers = Counter(trial.number for trial in record.trials.values())
    if len(record.trials) != asked:
        yield Violation("count", f"{len(record.trials)} trials, {asked} asked")
    if record.state != "complete":
        yield Violation("stuck", f"the study is {record.state}")
    for number, count in numbers.items():
        if count > 1:
            yield Violation("duplicate", f"{count} trials have the number {number}")
    for trial in record.trials.values():
        where = f"trial {trial.number}"
        if trial.state == "FAIL":
            yield Violation("dropped", f"{where} failed")
        elif trial.state == "PRUNED":
            yield from _stopped(trial)
        elif trial.state != "COMPLETE":
            yield Violation("stuck", f"{where} is {trial.state}")
        elif "stop" in trial.decisions.values():
            yield Violation("duplicate", f"{where} was stopped, and is complete")
        if trial.is_open:
            yield Violation("stuck", f"{where} has a lease that is open, or none")
        if trial.state == "COMPLETE" and len(trial.values) > len(record.objectives):
            yield Violation("duplicate", f"{where} has {len(trial.values)} values of {len(record.objectives)}")


def _stopped(trial: Trial) -> Iterator[Violation]:
    """A trial that was stopped early: by one decision, on a vector that it had, and nothing is left of it."""
    stops = [rung for rung, decision in trial.decisions.items() if decision == "stop"]
    if len(stops) != 1:
        yield Violation("dropped", f"trial {trial.number} is PRUNED with {len(stops)} decisions to stop it")
    for rung in stops:
        if trial.rungs[rung] != chain.values(trial.truth(RUNGS[rung])):
            yield Violation("altered", f"trial {trial.number} was stopped for another vector: {trial.rungs[rung]}")
    if trial.values or trial.results:
        yield Violation("duplicate", f"trial {trial.number} is PRUNED and has values or a result")


def _true(record: Record, artifacts: Path | None) -> Iterator[Violation]:
    """What is stored of a complete trial is what its training must come to."""
    for trial in record.trials.values():
        if trial.state != "COMPLETE" or trial.seed is None:
            continue
        where, truth = f"trial {trial.number}", chain.values(trial.truth())
        if trial.values != [truth[name] for name in record.objectives]:
            yield Violation("altered", f"{where} has the values {trial.values}, not {truth}")
        for number in range(1, chain.STEPS + 1):
            if number not in trial.epochs:
                yield Violation("lost", f"{where} has no epoch {number} in its curve")
            elif trial.epochs[number] != curve_point(trial.truth(number)):
                yield Violation("altered", f"{where} has another epoch {number}: {trial.epochs[number]}")
        yield from _rungs(trial)
        if not trial.results:
            yield Violation("lost", f"{where} has no result row")
        for result in trial.results:
            yield from _weights(trial, result, artifacts)


def _rungs(trial: Trial) -> Iterator[Violation]:
    """Each rung was reported, by whichever attempt reached it."""
    for rung, epoch in enumerate(RUNGS):
        stored = trial.rungs.get(rung)
        if stored is None:
            yield Violation("lost", f"trial {trial.number} has no rung {rung}")
        elif stored != chain.values(trial.truth(epoch)):
            yield Violation("altered", f"trial {trial.number} has another rung {rung}: {stored}")


def _weights(trial: Trial, result: Any, artifacts: Path | None) -> Iterator[Violation]:
    digest = hashlib.sha256(chain.weights(trial.truth())).hexdigest()
    if result.weights_sha256 != digest:
        yield Violation("altered", f"trial {trial.number} has other weights: {result.weights_sha256}")
    if result.test is not None and result.test["values"] != chain.values(trial.truth()):
        yield Violation("altered", f"trial {trial.number} has another test score: {result.test}")
    if artifacts is not None:
        path = artifacts / str(trial.trial_id) / f"{result.weights_fence}-{result.weights_sha256}.safetensors"
        if not path.exists():
            yield Violation("lost", f"trial {trial.number}: no file {path.name}")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != result.weights_sha256:
            yield Violation("altered", f"trial {trial.number}: {path.name} has other bytes")


def _kept(record: Record, entries: Sequence[Entry]) -> Iterator[Violation]:
    """What a worker was told is stored is there, as it was sent."""
    outcomes = defaultdict[int, set[str]](set)
    for entry in entries:
        trial = record.trials.get(entry["trial"])
        if trial is None:
            yield Violation("lost", f"the trial with id {entry['trial']} was handed out and is gone")
            continue
        yield from _kept_entry(record, trial, entry)
        if entry["event"] == "complete":
            outcomes[trial.number].add(repr(sorted(entry["values"].items())))
    for number, told in outcomes.items():
        if len(told) > 1:
            yield Violation("duplicate", f"trial {number}: {len(told)} different results were acknowledged")


def _kept_entry(record: Record, trial: Trial, entry: Entry) -> Iterator[Violation]:
    where = f"trial {trial.number}, told to {entry['worker']}"
    if entry["event"] == "complete":
        if trial.state != "COMPLETE":
            yield Violation("lost", f"{where}: it is {trial.state}")
        elif trial.values != [entry["values"][name] for name in record.objectives]:
            yield Violation("altered", f"{where}: {entry['values']}, stored {trial.values}")
    elif entry["event"] == "epoch":
        stored = trial.epochs.get(entry["epoch"])
        if stored is None:
            yield Violation("lost", f"{where}: epoch {entry['epoch']}")
        elif stored != (entry["loss"], entry["accuracy"]):
            yield Violation("altered", f"{where}: epoch {entry['epoch']} is {stored}")
    elif entry["event"] == "rung":
        if entry["rung"] not in trial.rungs:
            yield Violation("lost", f"{where}: rung {entry['rung']}")
        elif trial.rungs[entry["rung"]] != entry["values"]:
            yield Violation("altered", f"{where}: rung {entry['rung']} is {trial.rungs[entry['rung']]}")
        elif (entry["decision"] == "stop") != (trial.decisions[entry["rung"]] == "stop"):
            told = f"told to {entry['decision']}, stored {trial.decisions[entry['rung']]}"
            yield Violation("altered", f"{where}: rung {entry['rung']}: {told}")
    elif entry["event"] == "tested" and not any(result.test for result in trial.results):
        yield Violation("lost", f"{where}: its test score")


def _steps(entries: Sequence[Entry]) -> Iterator[Violation]:
    """No attempt begins before the newest checkpoint that an earlier one was told is stored."""
    saved = defaultdict[int, list[tuple[int, int]]](list)
    steps = defaultdict[tuple[int, int], list[int]](list)
    for entry in entries:
        if entry["event"] == "checkpoint":
            saved[entry["trial"]].append((entry["fence"], entry["epoch"]))
        elif entry["event"] == "step":
            steps[entry["trial"], entry["fence"]].append(entry["epoch"])
    for (trial, fence), done in steps.items():
        newest = max((epoch for earlier, epoch in saved[trial] if earlier < fence), default=0)
        if done[0] <= newest:
            yield Violation("repeated", f"trial id {trial}, fence {fence}: step {done[0]} again, {newest} were saved")
        if done != list(range(done[0], done[0] + len(done))):
            yield Violation("repeated", f"trial id {trial}, fence {fence}: steps {done}")
