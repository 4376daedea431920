from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from objectives.data.matfile import read_arrays


def saved(*, packed: bool = True, **variables: Any) -> bytes:
    out = io.BytesIO()
    savemat(out, variables, do_compression=packed)
    return out.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_come_back_as_they_were_saved(packed: bool) -> None:
    random = np.random.default_rng(0)
    arrays = {
        "X": random.integers(0, 256, (5, 4, 3, 7), dtype=np.uint8),
        "y": np.arange(7, dtype=np.uint8)[:, np.newaxis],
        "one": np.array([[3]], np.int16),
        "real": random.random((2, 3)),
        "none": np.zeros((0, 4), np.uint8),
    }
    content = saved(packed=packed, text="words", nested={"a": 1}, **arrays)
    found = read_arrays(content, arrays)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert read_arrays(content, ("X", "absent")).keys() == {"X"}


@pytest.mark.parametrize(
    ("variables", "problem"),
    [({"X": "words"}, "X is no array of real numbers"), ({"X": {"a": 1}}, "X is no array of real numbers"),
     ({"X": np.array([[1j]])}, "X is no array of real numbers")],
)  # fmt: skip
def test_what_is_no_array_of_numbers(variables: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_arrays(saved(**variables), ("X",))


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0", bytes(200), b"\x89HDF\r\n\x1a\n" + bytes(300)])
def test_what_is_no_such_file(content: bytes) -> None:
    with pytest.raises(ValueError, match="no little-endian MATLAB file of version 5"):
        read_arrays(content, ("X",))


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_cut_anywhere_lacks_a_variable_or_is_refused(packed: bool) -> None:
    whole = saved(packed=packed, X=np.arange(12, dtype=np.uint8).reshape(3, 4), y=np.ones((4, 1), np.uint8))
    for length in range(len(whole)):
        try:
            found = read_arrays(whole[:length], ("X", "y"))
        except ValueError:
            continue
        assert len(found) < 2


@pytest.mark.parametrize("packed", [False, True])
def test_altered_bytes_never_end_the_process(packed: bool) -> None:
    """scipy's own reader is killed by some of these."""
    random = np.random.default_rng(1)
    whole = saved(packed=packed, X=np.arange(12, dtype=np.uint8).reshape(3, 4), y=np.ones((4, 1), np.uint8))
    refused = 0
    for _ in range(2_000):
        content = bytearray(whole)
        for at in random.integers(128, len(whole), 2):
            content[at] = random.integers(0, 256)
        try:
            read_arrays(bytes(content), ("X", "y"))
        except ValueError:
            refused += 1
    assert refused > 500
