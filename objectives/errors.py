"""Errors of the objectives.

ObjectivesError
├── SpecError (ValueError)      the study file is not valid
│   └── NetworkError            a network is malformed, does not fit the image, or is none the accelerator runs
├── DatasetError                a data set is unknown, missing or corrupted
├── CheckpointError             a checkpoint is torn, altered or of another trial
└── TrainingError               training or evaluation cannot go on (a loss that is not finite, input that does not fit)
"""

from __future__ import annotations


class ObjectivesError(Exception):
    """Base of every error raised by `objectives`."""


class SpecError(ObjectivesError, ValueError):
    """The study file is not valid; the message is one line a problem, `file:line: field: what, what to do`."""


class NetworkError(SpecError):
    """A network is malformed, does not fit the image, or is none that the accelerator runs."""


class DatasetError(ObjectivesError):
    """A data set is unknown, missing or corrupted."""


class CheckpointError(ObjectivesError):
    """A checkpoint is torn, altered or belongs to another trial."""


class TrainingError(ObjectivesError):
    """Training or evaluation cannot go on."""
