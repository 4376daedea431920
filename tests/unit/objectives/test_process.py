"""How a training process is set up."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

TIMES, MB = 20, 64

PROGRAM = f"""
import resource, torch
from objectives.process import settle
{{setup}}
def take():
    torch.zeros({MB} * 2**18)
for _ in range(10):
    take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({TIMES}):
    take()
print(torch.get_num_threads(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def threads_and_faults(setup: str) -> tuple[int, int]:
    command = [sys.executable, "-c", PROGRAM.format(setup=setup)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    threads, faults = done.stdout.split()
    return int(threads), int(faults)


def test_a_settled_process_computes_on_one_thread() -> None:
    assert threads_and_faults("settle()")[0] == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_a_settled_process_keeps_the_memory_it_freed() -> None:
    pages = TIMES * MB * 2**20 // 4096

    assert threads_and_faults("")[1] > pages / 2, "the system maps each page anew, so there is something to gain"
    assert threads_and_faults("settle()")[1] < pages / 100
