from __future__ import annotations

import pickle

import pytest
import safetensors.torch
import torch

from objectives.checkpoint import dump, load, load_tensors
from objectives.errors import CheckpointError

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "step": torch.tensor(3.0), "ids": torch.tensor([1, 2])}
STATE = {"epoch": 2, "loss": 0.1 + 0.2, "nested": {"zeros": "0" * 64, "list": [1, None, "ü"]}}


def test_round_trip() -> None:
    tensors, state = load(dump(TENSORS, STATE))
    assert state == STATE
    assert tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(tensors[name], TENSORS[name]) and tensors[name].dtype == TENSORS[name].dtype for name in TENSORS
    )


def test_channels_last_weights_keep_their_values() -> None:
    weight = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=torch.channels_last
    )
    assert torch.equal(load(dump({"w": weight}, {}))[0]["w"], weight)


def test_equal_content_gives_equal_bytes() -> None:
    assert dump(TENSORS, STATE) == dump(dict(reversed(TENSORS.items())), STATE)


def test_it_is_a_plain_safetensors_file() -> None:
    assert torch.equal(safetensors.torch.load(dump(TENSORS, STATE))["a.weight"], TENSORS["a.weight"])


def test_every_flipped_bit_is_refused() -> None:
    data = dump(TENSORS, STATE)
    for position in range(len(data)):
        altered = bytearray(data)
        altered[position] ^= 1 << position % 8
        with pytest.raises(CheckpointError):
            load(bytes(altered))


def test_every_torn_file_is_refused() -> None:
    data = dump(TENSORS, STATE)
    for length in range(len(data)):
        with pytest.raises(CheckpointError):
            load(data[:length])
    with pytest.raises(CheckpointError):
        load(data + b"\0")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        pickle.dumps({"epoch": 1}),
        safetensors.torch.save({"w": torch.ones(2)}),
        (2**63).to_bytes(8, "little") + b"{}",
    ],
    ids=["empty", "text", "pickle", "unsealed", "long header"],
)
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        load(data)


def test_swapping_two_files_headers_is_refused() -> None:
    one, other = dump({"w": torch.ones(3)}, {}), dump({"w": torch.zeros(3)}, {})
    with pytest.raises(CheckpointError, match="SHA-256"):
        load(one[:-12] + other[-12:])


def test_unsealed_tensors_and_junk() -> None:
    assert load_tensors(safetensors.torch.save({"w": torch.ones(2)}))["w"].tolist() == [1.0, 1.0]
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_tensors(b"junk that is no file")


def test_not_finite_state_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump({}, {"loss": float("nan")})
