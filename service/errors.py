"""Errors of the service.

ServiceError                    carries the HTTP status that the API answers with
├── UsageError (400)            the request is not valid
├── NotAllowed (401/403)        token missing, wrong or of too low a role
├── NotFound (404)              no such study or trial
├── Conflict (409)              it contradicts what is stored
│   ├── LeaseLost (409)         somebody else owns the trial now
│   └── SpecDiffers (409)       the same name with another frozen part
├── TooLarge (413)              a body above its bound
├── Unavailable (503)           the database or another part is away for now
└── RunFailed                   a run that ended without reaching its goal (exit code 1)
"""

from __future__ import annotations


class ServiceError(Exception):
    """Base of every error raised by `service`."""

    status = 500


class UsageError(ServiceError, ValueError):
    """The request is not valid."""

    status = 400


class NotAllowed(ServiceError):
    """The token is missing, wrong or of too low a role."""

    status = 401


class NotFound(ServiceError, LookupError):
    """No such study or trial."""

    status = 404


class Conflict(ServiceError):
    """The request contradicts what is stored."""

    status = 409


class LeaseLost(Conflict):
    """The lease is not this worker's any more; whatever it has is to be dropped."""


class SpecDiffers(Conflict):
    """A study of this name exists with another frozen part."""


class TooLarge(ServiceError):
    """A body above its bound."""

    status = 413


class Unavailable(ServiceError):
    """The server, the database or another part is away for now."""

    status = 503


class RunFailed(ServiceError):
    """A run ended without reaching its goal."""
