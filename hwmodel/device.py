"""FPGA devices: what they hold and what they draw when idle.

A device is a YAML file; `devices/` holds the known ones, and a file of the user's own works alike. Each
figure may be null, which means that nobody has stated it: whatever needs it is refused, never taken as 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any

import yaml

from hwmodel.errors import DeviceError
from hwmodel.units import Watts

PARTS = ("luts", "flip_flops", "bram36", "uram", "dsp")
"""What a device holds, in the order of its file."""


@dataclass(frozen=True)
class Device:
    """One FPGA, as its file describes it; `None` is a figure that nobody has stated.

    Attributes:
        name: What reports call it.
        family: For the reader.
        luts: Look-up tables of six inputs.
        flip_flops: Registers.
        bram36: Block memories of 36 Kbit.
        uram: UltraRAM blocks of 288 Kbit; 0 is legal.
        dsp: Multipliers.
        static_w: Power drawn without any activity [W].
        source: Where the figures come from.
    """

    name: str
    family: str
    luts: int | None
    flip_flops: int | None
    bram36: int | None
    uram: int | None
    dsp: int | None
    static_w: float | None
    source: str

    def static_power(self) -> Watts:
        """Power drawn without any activity [W].

        Raises:
            DeviceError: The figure is unknown; it is never taken as 0.
        """
        if self.static_w is None:
            raise DeviceError(
                f"device {self.name}: static power is unknown (static_w), so energy and FPS/W are too; "
                f"choose one of {', '.join(_with_static_power())}, or state static_w in a device file of your own"
            )
        return Watts(self.static_w)

    def available(self, part: str) -> int:
        """How many of one of `PARTS` the device holds.

        Raises:
            DeviceError: The figure is unknown; it is never taken as 0.
        """
        number: int | None = getattr(self, part)
        if number is None:
            raise DeviceError(
                f"device {self.name}: {part} is unknown, so whether an accelerator fits is too; "
                f"state {part} in the device file or choose another device"
            )
        return number

    def unknown(self) -> tuple[str, ...]:
        """Figures nobody has stated, of `PARTS` and `static_w`; empty if all are known."""
        return tuple(name for name in (*PARTS, "static_w") if getattr(self, name) is None)


def known_devices() -> list[str]:
    """Names `load_device` accepts, sorted."""
    return sorted(PurePath(entry.name).stem for entry in files("hwmodel").joinpath("devices").iterdir())


def load_device(device: str | Path) -> Device:
    """Read a device's description.

    Args:
        device: A known name; or a file, given as a `Path` or as text that ends in ".yaml".

    Raises:
        DeviceError: No such device (the message lists the known ones), no such file, or a file that is not a
            device's (the message names file, line and field).
    """
    if isinstance(device, Path) or device.endswith(".yaml"):
        return _read_file(Path(device))
    return _load_known(device)


@cache
def _load_known(name: str) -> Device:
    if name not in known_devices():
        raise DeviceError(
            f"device {name!r} is unknown; known: {', '.join(known_devices())}; "
            "or give the path of a device file, ending in .yaml"
        )
    file = files("hwmodel").joinpath("devices", f"{name}.yaml")
    return _parse(file.read_text(encoding="utf-8"), file.name)


def _read_file(path: Path) -> Device:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DeviceError(f"device file {path}: cannot be read: {reason}") from error
    return _parse(text, str(path))


def _parse(text: str, file: str) -> Device:
    known = [field.name for field in fields(Device)]
    values: dict[str, Any] = {}
    for name, value, line in _entries(text, file):
        where = f"device file {file}:{line}: {name}"
        if name not in known:
            raise DeviceError(f"{where}: no such field; known: {', '.join(known)}")
        if name in values:
            raise DeviceError(f"{where}: stands twice; keep one")
        if expected := _expected(name, value):
            raise DeviceError(f"{where}: expected {expected}, got {value!r}")
        values[name] = value
    for name in known:
        if name not in values:
            raise DeviceError(f"device file {file}: {name} is missing; write null for a figure that is unknown")
    return Device(**values)


def _entries(text: str, file: str) -> list[tuple[str, Any, int]]:
    """Name, value and line of each entry of a file."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        entries = [
            (str(key.value), loader.construct_object(value, deep=True), key.start_mark.line + 1) for key, value in pairs
        ]
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a value that is not of its tag, such as a 13th month
        raise DeviceError(f"device file {file}: not valid YAML: {' '.join(str(error).split())}") from error
    if not entries:
        raise DeviceError(f"device file {file}: holds no field; see hwmodel/devices for examples")
    return entries


def _expected(name: str, value: object) -> str:
    """What should have stood there; empty if the value is good."""
    if name in ("name", "family", "source"):
        return "" if isinstance(value, str) and value.strip() else "text"
    if name == "static_w":
        return "" if value is None or _is_power(value) else "a finite number above 0, or null if unknown"
    least = 0 if name == "uram" else 1
    return "" if value is None or _is_count(value, least) else f"a whole number from {least}, or null if unknown"


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_power(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _with_static_power() -> list[str]:
    return [name for name in known_devices() if load_device(name).static_w is not None]
