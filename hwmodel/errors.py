"""Errors of the hardware model.

    HwmodelError
    ├── AcceleratorError   (ValueError)  cores that do not divide, a circuit that would hang, no such preset
    ├── DeviceError        (ValueError)  an unknown device, or one whose static power nobody has stated
    ├── ActivityError      (ValueError)  spike counts that do not fit the accelerator's layers
    └── VectorError        (ValueError)  a test vector that cannot be read, or a folder without any

All are mistakes in what was passed in; none is retried.
"""

from __future__ import annotations


class HwmodelError(Exception):
    """Anything the hardware model refuses."""


class AcceleratorError(HwmodelError, ValueError):
    """The accelerator cannot be built as described."""


class DeviceError(HwmodelError, ValueError):
    """The device is not known, or lacks the figure that was asked for."""


class ActivityError(HwmodelError, ValueError):
    """The spike counts do not fit the accelerator."""


class VectorError(HwmodelError, ValueError):
    """A test vector, or a folder of them, cannot be used."""
