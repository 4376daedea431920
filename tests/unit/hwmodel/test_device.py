"""Devices: the known ones, files of one's own, and figures that nobody has stated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hwmodel.device import PARTS, known_devices, load_device
from hwmodel.errors import DeviceError

BOARD = {
    "name": "board",
    "family": "Artix",
    "luts": "20800",
    "flip_flops": "41600",
    "bram36": "50",
    "uram": "0",
    "dsp": "90",
    "static_w": "0.1",
    "source": "data sheet",
}
FIELDS = "name, family, luts, flip_flops, bram36, uram, dsp, static_w, source"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a device file; each argument replaces a line, or removes it if empty."""

    def write_file(**changes: str) -> Path:
        path = tmp_path / "board.yaml"
        lines = {**BOARD, **changes}
        path.write_text("".join(f"{name}: {value}\n" for name, value in lines.items() if value), encoding="utf-8")
        return path

    return write_file


def test_known_devices_state_their_resources_and_source() -> None:
    assert set(known_devices()) >= {"xcku115", "xc7z045", "xc7z020", "xcvu13p"}
    for name in known_devices():
        device = load_device(name)
        assert device.name == name
        assert device.source
        assert not set(device.unknown()) & set(PARTS)
        assert device is load_device(name)


def test_known_devices_hold_what_the_product_tables_say() -> None:
    held = {name: [load_device(name).available(part) for part in PARTS] for name in known_devices()}
    assert held["xc7z020"] == [53_200, 106_400, 140, 0, 220]
    assert held["xc7z045"] == [218_600, 437_200, 545, 0, 900]
    assert held["xcku115"] == [663_360, 1_326_720, 2_160, 0, 5_520]
    assert held["xcvu13p"] == [1_728_000, 3_456_000, 2_688, 1_280, 12_288]


def test_an_unknown_static_power_is_refused_and_names_devices_that_have_one() -> None:
    assert load_device("xcku115").static_power() == 1.270
    with pytest.raises(DeviceError, match=r"xc7z020: static power is unknown \(static_w\).* one of xc7z045, xcku115"):
        load_device("xc7z020").static_power()


def test_an_unknown_device_lists_the_known_ones() -> None:
    with pytest.raises(DeviceError, match=r"'xc7' is unknown; known: xc7z020, .*or give the path of a device file"):
        load_device("xc7")


def test_a_file_of_ones_own_is_read_by_path_and_by_text(write: Write) -> None:
    path = write()
    device = load_device(path)
    assert device == load_device(str(path))
    assert [device.available(part) for part in PARTS] == [20_800, 41_600, 50, 0, 90]
    assert device.static_power() == 0.1
    assert device.unknown() == ()


def test_a_file_is_read_anew_each_time(write: Write) -> None:
    assert load_device(write(luts="20800")).luts == 20_800
    assert load_device(write(luts="20801")).luts == 20_801


@pytest.mark.parametrize("name", [*PARTS, "static_w"])
def test_any_figure_may_be_unknown_and_is_then_refused(write: Write, name: str) -> None:
    device = load_device(write(**{name: "null"}))
    assert device.unknown() == (name,)
    with pytest.raises(DeviceError, match=rf"device board: .*unknown.*{name}"):
        device.static_power() if name == "static_w" else device.available(name)


def test_unknown_figures_are_listed_in_the_order_of_the_file() -> None:
    device = replace(load_device("xcku115"), static_w=None, dsp=None, luts=None)
    assert device.unknown() == ("luts", "dsp", "static_w")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("luts", "-1", "luts: expected a whole number from 1, or null if unknown, got -1"),
        ("luts", "0", "luts: expected a whole number from 1, or null if unknown, got 0"),
        ("luts", "20800.0", "luts: expected a whole number from 1, or null if unknown, got 20800.0"),
        ("dsp", "many", "dsp: expected a whole number from 1, or null if unknown, got 'many'"),
        ("bram36", "true", "bram36: expected a whole number from 1, or null if unknown, got True"),
        ("uram", "-1", "uram: expected a whole number from 0, or null if unknown, got -1"),
        ("flip_flops", "[1]", r"flip_flops: expected a whole number from 1, or null if unknown, got \[1\]"),
        ("static_w", "0", "static_w: expected a finite number above 0, or null if unknown, got 0"),
        ("static_w", "-0.1", "static_w: expected a finite number above 0, or null if unknown, got -0.1"),
        ("static_w", ".nan", "static_w: expected a finite number above 0, or null if unknown, got nan"),
        ("static_w", ".inf", "static_w: expected a finite number above 0, or null if unknown, got inf"),
        ("static_w", "yes", "static_w: expected a finite number above 0, or null if unknown, got True"),
        ("static_w", "0.1 W", "static_w: expected a finite number above 0, or null if unknown, got '0.1 W'"),
        ("source", "null", "source: expected text, got None"),
        ("name", "7", "name: expected text, got 7"),
    ],
)
def test_a_bad_value_names_file_line_field_and_what_is_expected(
    write: Write, name: str, value: str, message: str
) -> None:
    line = list(BOARD).index(name) + 1
    with pytest.raises(DeviceError, match=rf"device file .*board\.yaml:{line}: {message}$"):
        load_device(write(**{name: value}))


@pytest.mark.parametrize("name", list(BOARD))
def test_a_missing_field_is_refused(write: Write, name: str) -> None:
    with pytest.raises(DeviceError, match=rf"board\.yaml: {name} is missing; write null for a figure that is unknown"):
        load_device(write(**{name: ""}))


def test_a_field_that_does_not_exist_is_refused(write: Write) -> None:
    with pytest.raises(DeviceError, match=rf"board\.yaml:10: lut: no such field; known: {FIELDS}$"):
        load_device(write(lut="5"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("luts: 5\nluts: 6\n", ":2: luts: stands twice; keep one"),
        ("luts: [5\n", ": not valid YAML: .*line 2"),
        ("luts: 2023-13-01\n", ": not valid YAML: month must be in 1..12"),
        ("luts: !!python/object:os.system {}\n", ": not valid YAML: could not determine a constructor"),
        ("? [luts]\n: 5\n", ":1: .*luts.*: no such field"),
        ("", ": holds no field"),
        ("- luts\n", ": holds no field"),
    ],
)
def test_a_file_that_is_no_mapping_of_fields_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DeviceError, match=rf"device file .*board\.yaml{message}"):
        load_device(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"none\.yaml: cannot be read: No such file"):
        load_device(str(tmp_path / "none.yaml"))
    with pytest.raises(DeviceError, match="cannot be read: Is a directory"):
        load_device(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"source: \xe9t\xe9\n")
    with pytest.raises(DeviceError, match=r"latin\.yaml: cannot be read: not UTF-8 text"):
        load_device(path)
