"""A tiny study on scikit-learn's digits: a trial trains in about a second."""

from __future__ import annotations

from typing import Any

import yaml

from objectives.spec import Study
from objectives.studyfile import parse_study

STUDY_YAML = """\
study: tiny
dataset: {name: digits, limit: 300}
network: 4C3p1-MP2-10
encoding: direct
time_steps: 4
loss: ce_rate
train: {epochs: 2, batch: 32, lr: 5.0e-3}
accelerator: {neural_cores: [2, 5], device: xc7z045}
search:
  beta: {range: [0.05, 0.95]}
  threshold: {range: [0.25, 2.5]}
  accelerator.neural_cores.0: {choice: [1, 2, 4]}
objectives: [accuracy, latency_ms, fps_per_watt]
constraints: {floor: {accuracy: 0.2}}
sampler: {name: tpe, seed: 1}
budget: {trials: 4}
baseline: {beta: 0.25, threshold: 1.0}
"""


NO_CORES = {"beta": {"range": [0.05, 0.95]}, "threshold": {"range": [0.25, 2.5]}}
"""A search space without the accelerator's part, for studies whose trials search accelerators."""


def searching(device: str = "xc7z045", search: Any = None, **fields: Any) -> dict[str, Any]:
    """The tiny study's accelerator section with a search in it; `NO_CORES` is the search space that goes with it."""
    return {"neural_cores": [2, 5], "device": device, "search": search or {}, **fields}


def study_text(name: str = "tiny", **fields: Any) -> str:
    """`STUDY_YAML` under another name, with top-level fields replaced whole; None leaves a field out."""
    document = {**yaml.safe_load(STUDY_YAML), "study": name, **fields}
    return yaml.safe_dump({key: value for key, value in document.items() if value is not None}, sort_keys=False)


def make_study(name: str = "tiny", **fields: Any) -> Study:
    """The checked study of `study_text`."""
    return parse_study(study_text(name, **fields))
