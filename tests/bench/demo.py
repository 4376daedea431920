"""`make bench-demo`: run the demo's study in a folder of its own and hold its result against what it promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.bars import Bar, report

STUDY = Path(__file__).parents[2] / "studies" / "digits.yaml"
LOSS_POINTS = 3.0  # of accuracy, on validation and on test


def run() -> tuple[dict[str, Any], float]:
    """The front of a fresh run, and its wall time in minutes."""
    with tempfile.TemporaryDirectory() as var:
        command = [sys.executable, "-m", "service.cli", "run", str(STUDY), "--workers", "2", "--port", "0", "--json"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPIKEFRONT_")}
        started = time.monotonic()
        done = subprocess.run(
            command, env={**environment, "SPIKEFRONT_VAR": var}, stdout=subprocess.PIPE, text=True, check=True
        )
        minutes = (time.monotonic() - started) / 60
        subprocess.run(["sleep", "1"], check=True)  # the database stops with its last user
    return json.loads(done.stdout), minutes


def network_gain(front: dict[str, Any]) -> float:
    """Largest cut of latency [%] on the baseline's own accelerator among points that lose at most 3 points."""
    base = front["baseline"]
    before, before_test = base["on_baseline_accelerator"], base["test_on_baseline_accelerator"]
    gains = [0.0]
    for point in front["front"]:
        lost = (base["values"]["accuracy"] - point["values"]["accuracy"]) * 100
        lost_test = (base["test"]["accuracy"] - point["test"]["accuracy"]) * 100
        if lost <= LOSS_POINTS and lost_test <= LOSS_POINTS:
            cut = 1 - point["on_baseline_accelerator"]["latency_ms"] / before["latency_ms"]
            cut_test = 1 - point["test_on_baseline_accelerator"]["latency_ms"] / before_test["latency_ms"]
            gains.append(100 * min(cut, cut_test))
    return max(gains)


def main() -> int:
    front, minutes = run()
    base = front["baseline"]
    print(f"baseline: validation {base['values']['accuracy']:.3f}, test {base['test']['accuracy']:.3f}, "
          f"{base['values']['latency_ms']:.3f} ms")  # fmt: skip
    for point in front["front"]:
        print(f"trial {point['trial']:3d}: validation {point['values']['accuracy']:.3f}, "
              f"test {point['test']['accuracy']:.3f}, {point['values']['latency_ms']:.3f} ms, "
              f"on the baseline's accelerator {point['on_baseline_accelerator']['latency_ms']:.3f} ms")  # fmt: skip
    return report(
        [
            Bar("demo/minutes", minutes, 4.0, "min", at_least=False),
            Bar("demo/front_points", len(front["front"]), 5, "points"),
            Bar("demo/baseline_test_accuracy", base["test"]["accuracy"], 0.90, "share"),
            Bar("demo/network_latency_cut", network_gain(front), 20.0, "%"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
