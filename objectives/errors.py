"""Errors of the objectives.

ObjectivesError
├── SpecError (ValueError)      the study file is not valid
│   └── NetworkError            the network string is malformed or does not fit the image
├── DatasetError                a data set is unknown, missing or corrupted
├── CheckpointError             a checkpoint is torn, altered or of another trial
└── TrainingError               training went wrong (a loss that is not finite, ...)
"""

from __future__ import annotations


class ObjectivesError(Exception):
    """Base of every error raised by `objectives`."""


class SpecError(ObjectivesError, ValueError):
    """The study file is not valid; the message is one line a problem, `file:line: field: what, what to do`."""


class NetworkError(SpecError):
    """The network string is malformed or does not fit the image."""


class DatasetError(ObjectivesError):
    """A data set is unknown, missing or corrupted."""


class CheckpointError(ObjectivesError):
    """A checkpoint is torn, altered or belongs to another trial."""


class TrainingError(ObjectivesError):
    """Training cannot go on."""
