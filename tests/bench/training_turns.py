"""Time several ways to do one thing, each in a process of its own, in turns: a busy machine slows all of them alike.

A way shares no heap with the others, as in use: freed memory that one leaves behind would spare another page faults.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import torch

Work = Callable[[int], object]
"""Does its thing so many times."""

Make = Callable[[], Mapping[str, Work]]
"""Sets up what one process can do, by name; picklable."""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.bench.training_sizes"])


@dataclass(frozen=True)
class Lap:
    """CPU time of the process and wall clock, for each repetition [s]."""

    cpu_s: float
    wall_s: float


class Runner:
    """A process that does one of its works whenever it is told to.

    Args:
        make: Sets up the works; each is done once before anything is timed.
        threads: Threads of torch in that process.
    """

    def __init__(self, make: Make, threads: int = 1) -> None:
        self._pipe, other = processes.Pipe()
        self._process = processes.Process(target=_serve, args=(other, make, threads), daemon=True)
        self._process.start()
        other.close()
        self.works: list[str] = self._pipe.recv()

    def begin(self, work: str, repeats: int) -> None:
        """Start, and do not wait."""
        self._pipe.send((work, repeats))

    def end(self) -> Lap:
        """Wait for what was begun."""
        lap: Lap = self._pipe.recv()
        return lap

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


@dataclass(frozen=True)
class Timings:
    """Seconds of one piece of work, by name of who did it and by round."""

    seconds: Mapping[str, list[float]]

    def median_s(self, name: str) -> float:
        """Median over the rounds [s]."""
        return statistics.median(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> float:
        """How many times faster the second is: the median of the ratios of each round."""
        return statistics.median(a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True))


def in_turns(makes: Mapping[str, Make], repeats: Mapping[str, int], *, rounds: int) -> dict[str, Timings]:
    """CPU seconds of every work in `repeats`, done by every process of `makes`; each round begins with another one."""
    names = list(makes)
    seconds: dict[str, dict[str, list[float]]] = {work: {name: [] for name in names} for work in repeats}
    with ExitStack() as stack:
        runners = {name: stack.enter_context(Runner(make)) for name, make in makes.items()}
        for work, times in repeats.items():
            for turn in range(rounds):
                first = turn % len(names)
                for name in names[first:] + names[:first]:
                    runners[name].begin(work, times)
                    seconds[work][name].append(runners[name].end().cpu_s)
    return {work: Timings(found) for work, found in seconds.items()}


def _serve(pipe: Connection, make: Make, threads: int) -> None:
    """Child: do what is asked for until the other end closes."""
    torch.set_num_threads(threads)
    works = make()
    for work in works.values():
        work(1)  # compiles
    pipe.send(list(works))
    while True:
        try:
            name, repeats = pipe.recv()
        except EOFError:
            return
        cpu, wall = time.process_time(), time.perf_counter()
        works[name](repeats)
        pipe.send(Lap((time.process_time() - cpu) / repeats, (time.perf_counter() - wall) / repeats))
