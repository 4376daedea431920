"""FPGA devices: what they hold and what they draw when idle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePath

import yaml

from hwmodel.errors import DeviceError
from hwmodel.units import Watts


@dataclass(frozen=True)
class Device:
    """One FPGA, as `devices/<name>.yaml` describes it.

    `static_w` is `None` where nobody has stated it: energies then raise, latency and resources still work.
    """

    name: str
    family: str
    luts: int
    flip_flops: int
    bram36: int
    uram: int
    dsp: int
    static_w: float | None
    source: str

    def static_power(self) -> Watts:
        """Power drawn without any activity [W].

        Raises:
            DeviceError: The figure is unknown; it is never taken as 0.
        """
        if self.static_w is None:
            raise DeviceError(
                f"device {self.name}: static power is unknown, so energy and FPS/W are too; "
                f"choose one of {', '.join(_with_static_power())}"
            )
        return Watts(self.static_w)


def known_devices() -> list[str]:
    """Names `load_device` accepts, sorted."""
    return sorted(PurePath(entry.name).stem for entry in files("hwmodel").joinpath("devices").iterdir())


@cache
def load_device(name: str) -> Device:
    """Read a device's description.

    Raises:
        DeviceError: No such device; the message lists the known ones.
    """
    if name not in known_devices():
        raise DeviceError(f"device {name!r} is unknown; known: {', '.join(known_devices())}")
    text = files("hwmodel").joinpath("devices", f"{name}.yaml").read_text(encoding="utf-8")
    return Device(**yaml.safe_load(text))


def _with_static_power() -> list[str]:
    return [name for name in known_devices() if load_device(name).static_w is not None]
