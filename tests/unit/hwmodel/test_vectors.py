"""The recorded runs of the published circuit: all reproduced, and any damage found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hwmodel.errors import VectorError
from hwmodel.vectors import verify_folder

VECTORS = Path(__file__).parents[2] / "data" / "rtl"
Edit = Callable[[dict[str, Any]], object]


def edited(folder: Path, name: str, edit: Edit) -> Path:
    document = json.loads((VECTORS / name).read_text())
    edit(document)
    (folder / name).write_text(json.dumps(document))
    return folder


def test_every_vector_is_reproduced() -> None:
    verification = verify_folder(VECTORS)
    assert verification.ok
    assert verification.counts == {"conv": 9, "conv_numeric": 2, "dense": 1, "fc": 3}
    assert verification.lines() == [
        "conv: 9",
        "conv_numeric: 2",
        "dense: 1",
        "fc: 3",
        "15 vectors, 0 mismatches",
    ]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("conv_00_iid.json", "cycles"),
        ("conv_06_blob.json", "accumulate_cycles"),
        ("dense_00.json", "cycles"),
        ("fc_00_iid.json", "cycles"),
        ("fc_02_heavy.json", "accumulate_cycles"),
        ("numeric_01_silent.json", "cycles"),
    ],
)
def test_a_figure_off_by_one_is_found(tmp_path: Path, name: str, field: str) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["rtl"][field] += 1

    verification = verify_folder(edited(tmp_path, name, edit))
    (mismatch,) = verification.mismatches
    assert (mismatch.file, mismatch.field) == (name, field)
    recorded = json.loads((VECTORS / name).read_text())["rtl"][field]
    assert (mismatch.expected, mismatch.got) == (recorded + 1, recorded)
    assert verification.lines()[-1] == "1 vectors, 1 mismatches"
    assert not verification.ok


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(("name", "field"), [("conv_08_races.json", "activation_ends"), ("dense_00.json", "step_ends")])
def test_a_wrong_event_is_found(tmp_path: Path, name: str, field: str, position: int) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["rtl"][field][2][position] += 1

    (mismatch,) = verify_folder(edited(tmp_path, name, edit)).mismatches
    assert mismatch.field == field


def test_a_missing_event_is_found(tmp_path: Path) -> None:
    folder = edited(tmp_path, "conv_00_iid.json", lambda document: document["rtl"]["activation_ends"].pop())
    assert [mismatch.field for mismatch in verify_folder(folder).mismatches] == ["activation_ends"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(kind="lstm"), "kind 'lstm' is unknown; known: conv, conv_numeric, dense, fc"),
        (lambda d: d.update(kind=3), "kind must be str, got int"),
        (lambda d: d.pop("kind"), "kind is missing"),
        (lambda d: d.pop("rtl"), "rtl is missing"),
        (lambda d: d["rtl"].pop("activation_ends"), "activation_ends is missing"),
        (lambda d: d["rtl"].update(cycles="many"), "cycles must be int, got str"),
        (lambda d: d.update(params=[]), "params must be dict, got list"),
        (lambda d: d["params"].pop("cores"), "cores is missing"),
        (lambda d: d["params"].update(cores=0), "params.cores must be 1 to 65536, got 0"),
        (lambda d: d["params"].update(cores=True), "cores must be int, got bool"),
        (lambda d: d["params"].update(penc=10**12), "params.penc must be 1 to 65536"),
        (lambda d: d["params"].update(kernel=7), "would hang: K = 7"),
        (lambda d: d["params"].update(frame_width=9), "spikes.shape is"),
        (lambda d: d["spikes"].update(shape=[4, 2]), "spikes.shape is"),
        (lambda d: d["spikes"].update(data="AAAA"), "spikes.data holds 3 bytes"),
        (lambda d: d["spikes"].update(data="?"), "spikes.data is not base64"),
        (lambda d: d["spikes"].update(data=None), "data must be str"),
        (lambda d: d.update(total_spikes=1), "total_spikes says 1"),
    ],
)
def test_a_vector_of_no_use_is_reported_with_its_reason(tmp_path: Path, edit: Edit, message: str) -> None:
    verification = verify_folder(edited(tmp_path, "conv_00_iid.json", edit))
    (mismatch,) = verification.mismatches
    assert (mismatch.file, mismatch.field) == ("conv_00_iid.json", "file")
    assert message in str(mismatch.got)
    assert verification.counts == {"broken": 1}


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "[" * 100_000, '{"kind": "conv"}', "\x00"])
def test_unreadable_files_are_reported_beside_good_ones(tmp_path: Path, text: str) -> None:
    shutil.copy(VECTORS / "fc_00_iid.json", tmp_path)
    (tmp_path / "bad.json").write_text(text)
    verification = verify_folder(tmp_path)
    assert verification.counts == {"fc": 1, "broken": 1}
    assert [mismatch.file for mismatch in verification.mismatches] == ["bad.json"]
    assert verification.lines()[-1] == "2 vectors, 1 mismatches"


def test_a_file_that_is_not_text_is_reported(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00{")
    (tmp_path / "folder.json").mkdir()
    assert [mismatch.file for mismatch in verify_folder(tmp_path).mismatches] == ["bytes.json", "folder.json"]


def test_a_dense_vector_too_large_to_list_is_refused(tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["params"].update(out_channels=65536, time_steps=65536)

    (mismatch,) = verify_folder(edited(tmp_path, "dense_00.json", edit)).mismatches
    assert "at most 65536" in str(mismatch.got)


def test_a_folder_without_vectors_raises(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing here")
    with pytest.raises(VectorError, match="no test vectors"):
        verify_folder(tmp_path)
    with pytest.raises(VectorError, match="no test vectors"):
        verify_folder(tmp_path / "missing")
