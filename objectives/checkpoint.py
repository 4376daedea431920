"""Checkpoints: safetensors with JSON beside the tensors and a SHA-256 over every byte. No pickle."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from objectives.errors import CheckpointError

State = dict[str, Any]
"""JSON-ready values."""

_KEY = "spikefront"
_UNSEALED = "0" * 64


def dump(tensors: dict[str, Tensor], state: State) -> bytes:
    """Tensors and JSON-ready state as one sealed safetensors file.

    The seal is the SHA-256 of the file with the seal itself written as zeros.
    """
    content = json.dumps({"sha256": _UNSEALED, "state": state}, allow_nan=False)
    data = safetensors.torch.save(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, metadata={_KEY: content}
    )
    return data.replace(_UNSEALED.encode(), hashlib.sha256(data).hexdigest().encode(), 1)


def load(data: bytes) -> tuple[dict[str, Tensor], State]:
    """Tensors and state of a sealed file.

    Raises:
        CheckpointError: The bytes are torn, altered, or no checkpoint of ours.
    """
    content = _content(data)
    seal = content["sha256"].encode()
    if hashlib.sha256(data.replace(seal, _UNSEALED.encode(), 1)).hexdigest().encode() != seal:
        raise CheckpointError(
            "the checkpoint's SHA-256 does not match its content: torn or altered; use the one before it"
        )
    return load_tensors(data), content["state"]


def load_tensors(data: bytes) -> dict[str, Tensor]:
    """Tensors of any safetensors file, sealed or not.

    Raises:
        CheckpointError: The bytes are no safetensors file.
    """
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"not a whole safetensors file ({error}); use another copy") from error


def _content(data: bytes) -> State:
    """Our part of the header. Layout of safetensors: 8 bytes little-endian length, then JSON."""
    length = int.from_bytes(data[:8], "little")
    try:
        content: State = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_KEY])
        is_ours = len(bytes.fromhex(content["sha256"])) == 32 and isinstance(content["state"], dict)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            "not a checkpoint of ours, or its header is torn or altered; use the one before it"
        ) from error
    if not is_ours:
        raise CheckpointError("not a checkpoint of ours, or its header is altered; use the one before it")
    return content
