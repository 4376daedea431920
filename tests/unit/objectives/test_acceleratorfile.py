"""The accelerator file: what it puts in place of a trial's accelerator, and what it says about a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwmodel.device import known_devices
from objectives.acceleratorfile import with_accelerator
from objectives.errors import SpecError
from objectives.hardware import accelerator_of
from tests.support.studies import make_study

STUDY = make_study()  # 4C3p1-MP2-10 on xc7z045
DEVICE = (
    "name: mine\nfamily: none\nluts: 9000\nflip_flops: 9000\nbram36: 50\nuram: 0\ndsp: 90\nstatic_w: 0.1\nsource: me\n"
)


def written(folder: Path, text: str) -> Path:
    file = folder / "small.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_replaces_the_accelerator_and_nothing_else(tmp_path: Path) -> None:
    new = with_accelerator(STUDY, written(tmp_path, "neural_cores: [4, 2]\nclock_mhz: 200\nschedule: ping_pong\n"))
    built = accelerator_of(new)
    assert [core.cores for core in built.layers] == [4, 2]
    assert (built.clock_hz, built.schedule) == (200e6, "ping_pong")
    assert new.model_copy(update={"accelerator": STUDY.accelerator}) == STUDY


def test_what_is_left_out_has_the_study_files_default_not_the_trials_value(tmp_path: Path) -> None:
    assert STUDY.accelerator.device == "xc7z045"
    assert with_accelerator(STUDY, written(tmp_path, "neural_cores: [4, 2]\n")).accelerator.device == "xcku115"


def test_the_section_of_a_study_file_may_be_copied(tmp_path: Path) -> None:
    plain = with_accelerator(STUDY, written(tmp_path, "neural_cores: [4, 2]\nencoder_widths: [null, 32]\n"))
    text = "accelerator:\n  neural_cores: [4, 2]\n  encoder_widths: [null, 32]\n"
    assert with_accelerator(STUDY, written(tmp_path, text)) == plain


def test_a_device_file_is_looked_for_beside_the_accelerator_file(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "mine.yaml").write_text(DEVICE, encoding="utf-8")
    file = written(tmp_path, "neural_cores: [4, 2]\ndevice: boards/mine.yaml\n")
    assert accelerator_of(with_accelerator(STUDY, file)).device.luts == 9000


@pytest.mark.parametrize("device", known_devices())
def test_every_known_device_may_be_named(tmp_path: Path, device: str) -> None:
    file = written(tmp_path, f"neural_cores: [4, 2]\ndevice: {device}\n")
    assert accelerator_of(with_accelerator(STUDY, file)).device.name == device


BAD = {
    "cores do not divide": ("clock_mhz: 50\nneural_cores: [3, 2]\n", [":2: neural_cores.0 = 3: ", "1, 2, 4"]),
    "too few cores": ("neural_cores: [4]\n", [":1: neural_cores has 1 entries", "conv1, fc1"]),
    "no cores": ("clock_mhz: 50\n", [":1: neural_cores: is missing; add it"]),
    "unknown key": ("neural_cores: [4, 2]\nclock: 50\n", [":2: clock: unknown key"]),
    "wrong type": ("neural_cores: [4, 2]\nclock_mhz: fast\n", [":2: clock_mhz: expected", "'fast'"]),
    "unknown device": ("neural_cores: [4, 2]\ndevice: abacus\n", [":2: device 'abacus' is unknown", "xc7z045"]),
    "no device file": ("neural_cores: [4, 2]\ndevice: gone.yaml\n", [":2: device file ", "gone.yaml"]),
    "of two layers": ("neural_cores: [4, 2]\nmode: tlm\n", [":2: mode 'tlm' describes networks of three"]),
    "wide encoder": ("neural_cores: [4, 2]\nencoder_widths: [null, 900]\n", ["fc1: encoder width 900", "1 to 64"]),
    "in a section": ("accelerator:\n  neural_cores: [4, 3]\n", [":2: neural_cores.1 = 3: ", "1, 2, 5, 10"]),
    "in a section, unknown": ("accelerator:\n  neural_cores: [4, 2]\n  x: 1\n", [":3: accelerator.x: unknown key"]),
    "a whole study": ("study: tiny\naccelerator: {neural_cores: [4, 2]}\n", [":2: accelerator: ", "section alone"]),
    "a search": ("neural_cores: [4, 2]\nsearch: {}\n", [":2: search: ", "`spikefront hw sweep`"]),
    "a list": ("- 4\n- 2\n", [":1: an accelerator file is a mapping", "a list"]),
    "nothing": ("", [":1: an accelerator file is a mapping", "nothing"]),
    "nothing in a section": ("accelerator:\n", [":1: accelerator: an accelerator file is a mapping", "nothing"]),
    "not YAML": ("neural_cores: [4, 2\n", ["not valid YAML"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_told_by_line(tmp_path: Path, text: str, words: list[str]) -> None:
    file = written(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        with_accelerator(STUDY, file)
    message = str(caught.value)
    assert message.startswith(f"{file}:")
    assert not [word for word in words if word not in message], message


def test_every_problem_has_a_line_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        with_accelerator(STUDY, written(tmp_path, "neural_cores: [0, 2]\nclock_mhz: -1\nmode: fast\n"))
    places = [line.removeprefix(f"{tmp_path / 'small.yaml'}:")[:15] for line in str(caught.value).splitlines()]
    assert places == ["1: neural_cores", "2: clock_mhz: e", "3: mode: expect"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"absent\.yaml: cannot be read: No such file .* accelerator file"):
        with_accelerator(STUDY, tmp_path / "absent.yaml")
    (tmp_path / "small.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SpecError, match="is not UTF-8 text; an accelerator file is YAML"):
        with_accelerator(STUDY, tmp_path / "small.yaml")
