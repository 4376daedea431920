"""RTL test vectors: recorded runs of the published circuit, replayed through the kernels.

One JSON file a vector: `kind` (conv, fc, dense, conv_numeric), `params`, `spikes` (bits packed along the
last axis, least significant first, base64) and `rtl`, what the simulated circuit did. A file that cannot be
used is itself a mismatch; only a folder without any vector raises.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hwmodel import circuit, kernels
from hwmodel.circuit import HAZARDS, REGISTERS
from hwmodel.cores import ConvCore, DenseCore, FcCore
from hwmodel.cycles import conv_timing, fc_timing
from hwmodel.errors import AcceleratorError, VectorError
from hwmodel.kernels import CAUSES, Counts, Ints
from hwmodel.limits import check_rtl

Record: TypeAlias = Mapping[str, Any]
Fields: TypeAlias = dict[str, Any]

LARGEST = 65536
"""Largest parameter a vector may hold: more would only exhaust memory."""


@dataclass(frozen=True)
class Mismatch:
    """A field of a vector in which model and circuit differ, or (field "file") why the file is unusable."""

    file: str
    field: str
    expected: object
    got: object

    def line(self) -> str:
        """One line for people."""
        return f"{self.file}: {self.field}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True)
class Verification:
    """Outcome of a folder: vectors by kind (`broken` for files of no use) and what differed."""

    counts: Mapping[str, int]
    mismatches: tuple[Mismatch, ...]

    @property
    def ok(self) -> bool:
        """Whether every vector was reproduced."""
        return not self.mismatches

    def lines(self) -> list[str]:
        """Counts by kind, each mismatch, and the totals as last line."""
        counts = [f"{kind}: {count}" for kind, count in sorted(self.counts.items())]
        total = f"{sum(self.counts.values())} vectors, {len(self.mismatches)} mismatches"
        return [*counts, *(mismatch.line() for mismatch in self.mismatches), total]


def verify_folder(path: str | Path) -> Verification:
    """Replay every `*.json` of a folder through the `rtl` kernels.

    Raises:
        VectorError: There is no such folder, or no vector in it.
    """
    folder = Path(path)
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        raise VectorError(f"{folder}: no test vectors (*.json) there; name the folder that holds them")
    counts: Counter[str] = Counter()
    mismatches: list[Mismatch] = []
    for file in files:
        kind, found = _verify_file(file)
        counts[kind] += 1
        mismatches += found
    return Verification(counts=dict(counts), mismatches=tuple(mismatches))


def _verify_file(file: Path) -> tuple[str, list[Mismatch]]:
    try:
        kind, expected, got = _replay(_read(file))
    except (VectorError, AcceleratorError) as error:
        return "broken", [Mismatch(file.name, "file", "a usable vector", str(error))]
    return kind, [
        Mismatch(file.name, field, expected[field], value) for field, value in got.items() if expected[field] != value
    ]


def _read(file: Path) -> Record:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise VectorError(f"not readable as JSON ({error})") from None
    if not isinstance(document, dict):
        raise VectorError("not a JSON object")
    return document


def _replay(vector: Record) -> tuple[str, Fields, Fields]:
    """Kind, what the circuit did, and what the model says, field by field."""
    kind = _get(vector, "kind", str)
    if kind not in _REPLAYS:
        raise VectorError(f"kind {kind!r} is unknown; known: {', '.join(_REPLAYS)}")
    replay, fields = _REPLAYS[kind]
    recorded = _get(vector, "rtl", dict)
    expected = {field: _get(recorded, field, kind_of) for field, kind_of in fields.items()}
    got = replay(vector)
    return kind, expected, {field: got[field] for field in fields}


def _conv(vector: Record) -> Fields:
    params = _get(vector, "params", dict)
    frame = _number(params, "frame_width") ** 2
    counts = _counts(vector, frame=frame)
    core = ConvCore(
        name="vector",
        cores=_number(params, "cores"),
        in_channels=_number(params, "in_channels"),
        in_frame=frame,
        out_channels=_number(params, "out_channels"),
        out_frame=frame,
        kernel=_number(params, "kernel"),
        penc=_number(params, "penc"),
        spike_buffer=_number(params, "spike_buffer"),
    )
    check_rtl(core)
    bounds = np.empty(core.groups("rtl") * len(counts), np.int64)
    ends = np.empty_like(bounds)
    registers = np.empty(REGISTERS, np.int64)
    circuit.reset(registers)
    latency, _, worked, activations = circuit.conv_rtl(
        counts, conv_timing(core, "rtl"), 0, registers, _zeros(CAUSES), _zeros(HAZARDS), bounds, ends
    )
    return {
        "cycles": int(latency),
        "accumulate_cycles": int(worked),
        "activation_ends": file_activations(ends[:activations], bounds, len(counts)),
    }


def file_activations(ends: Ints, bounds: Ints, steps: int) -> list[list[int]]:
    """`[cycle, step, group]` of each activation, as the output writer files its spikes.

    The step is that of the last boundary before the end, the group that of the last boundary up to it: with
    silent steps later ones than were accumulated.

    Args:
        ends: First idle cycle after each activation `(activations,)`.
        bounds: Cycle of each time-step boundary `(G*T,)`, ascending.
        steps: Time steps T.
    """
    before = np.searchsorted(bounds, ends - 1, side="right") - 1
    up_to = np.searchsorted(bounds, ends, side="right") - 1
    return [
        [int(end), int(last % steps), int(group // steps)] for end, last, group in zip(ends, before, up_to, strict=True)
    ]


def _fc(vector: Record) -> Fields:
    params = _get(vector, "params", dict)
    counts = _counts(vector, frame=_number(params, "in_frame"))
    core = FcCore(
        name="vector",
        cores=_number(params, "cores"),
        in_channels=_number(params, "in_channels"),
        in_frame=_number(params, "in_frame"),
        out_channels=_number(params, "layer_size"),
        penc=_number(params, "penc"),
    )
    check_rtl(core)
    latency, strobes = kernels.fc_cycles(counts.sum(axis=1, dtype=np.int64), fc_timing(core, "rtl"), _zeros(CAUSES))
    return {"cycles": int(latency), "accumulate_cycles": int(strobes)}


def _dense(vector: Record) -> Fields:
    params = _get(vector, "params", dict)
    frame, steps = _number(params, "frame_width") ** 2, _number(params, "time_steps")
    core = DenseCore(
        name="vector",
        cores=_number(params, "rows"),
        in_channels=_number(params, "in_channels"),
        in_frame=frame,
        out_channels=_number(params, "out_channels"),
        out_frame=frame,
        kernel=_number(params, "kernel"),
    )
    check_rtl(core)
    groups = core.groups("rtl")
    if groups * steps > LARGEST:
        raise VectorError(f"params: {groups} groups of {steps} steps; at most {LARGEST} in all")
    cells = core.in_channels * core.kernel * core.kernel
    end = [int(kernels.dense_cycles(done, frame, cells, _zeros(CAUSES))) for done in range(groups * steps + 1)]
    pulses = [[end[g * steps + t + 1], t, g] for g in range(groups) for t in range(steps)]
    return {"cycles": end[-1], "step_ends": pulses}


_REPLAYS: dict[str, tuple[Callable[[Record], Fields], dict[str, type]]] = {
    "conv": (_conv, {"cycles": int, "accumulate_cycles": int, "activation_ends": list}),
    "conv_numeric": (_conv, {"cycles": int}),
    "dense": (_dense, {"cycles": int, "step_ends": list}),
    "fc": (_fc, {"cycles": int, "accumulate_cycles": int}),
}


def _counts(vector: Record, *, frame: int) -> Counts:
    """Spikes of each map `(T, C)`, unpacked and checked against the vector's own parameters."""
    params, spikes = _get(vector, "params", dict), _get(vector, "spikes", dict)
    shape = [_number(params, "time_steps"), _number(params, "in_channels"), frame]
    if _get(spikes, "shape", list) != shape:
        raise VectorError(f"spikes.shape is {spikes['shape']}, but params say {shape}")
    try:
        packed = base64.b64decode(_get(spikes, "data", str), validate=True)
    except ValueError as error:
        raise VectorError(f"spikes.data is not base64 ({error})") from None
    row = -(-frame // 8)
    if len(packed) != shape[0] * shape[1] * row:
        raise VectorError(f"spikes.data holds {len(packed)} bytes, shape {shape} needs {shape[0] * shape[1] * row}")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8).reshape(shape[0], shape[1], row), axis=-1, bitorder="little")
    counts: Counts = bits[..., :frame].sum(axis=-1, dtype=np.int32)
    if int(counts.sum()) != _get(vector, "total_spikes", int):
        raise VectorError(f"spikes.data holds {int(counts.sum())} spikes, total_spikes says {vector['total_spikes']}")
    return counts


def _get(record: Record, key: str, kind: type) -> Any:
    if key not in record:
        raise VectorError(f"{key} is missing")
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise VectorError(f"{key} must be {kind.__name__}, got {type(value).__name__}")
    return value


def _number(params: Record, key: str) -> int:
    value: int = _get(params, key, int)
    if not 1 <= value <= LARGEST:
        raise VectorError(f"params.{key} must be 1 to {LARGEST}, got {value}")
    return value


def _zeros(names: tuple[str, ...]) -> Ints:
    return np.zeros(len(names), np.int64)
