"""Resources: hand-counted layers, what may never get smaller, and whether it fits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwmodel.accelerator import Accelerator
from hwmodel.cores import ConvCore, Core, DenseCore, FcCore, divisors
from hwmodel.device import PARTS, load_device
from hwmodel.errors import DeviceError
from hwmodel.resources import Resources, address_bits, layer_resources, multipliers, total_resources, weight_words
from tests.unit.hwmodel.networks import SMALL, small_accelerator

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True)
CORES = st.tuples(*(st.sampled_from(divisors(shape.out_channels)) for shape in SMALL))
BITS = st.tuples(*[st.integers(1, 150)] * 3)
MEMORIES = st.sampled_from(["bram", "uram"])


def built(memory: Literal["bram", "uram"] = "bram", bits: tuple[int, ...] = (32, 32, 8)) -> Accelerator:
    accelerator = replace(small_accelerator(), device=load_device("xcvu13p"), weight_memory=memory)
    return replace(accelerator, weight_bits=bits[0], membrane_bits=bits[1], pixel_bits=bits[2])


def area(core: Core, accelerator: Accelerator) -> NDArray[np.float64]:
    used = layer_resources(core, accelerator)
    return np.array([getattr(used, part) for part in PARTS])


def total(accelerator: Accelerator) -> Resources:
    return total_resources(layer_resources(core, accelerator) for core in accelerator.layers)


def conv(cores: int = 2, in_frame: int = 16, out_frame: int = 16, penc: int = 4) -> ConvCore:
    return ConvCore("conv", cores, 3, in_frame, 8, out_frame, 3, penc=penc, spike_buffer=in_frame)


def dense(cores: int = 2, in_frame: int = 16, out_frame: int = 16) -> DenseCore:
    return DenseCore("conv1", cores, 3, in_frame, 8, out_frame, 3)


def fc(cores: int = 2, in_frame: int = 16, penc: int = 4) -> FcCore:
    return FcCore("fc", cores, 3, in_frame, 8, penc=penc)


def test_a_fully_connected_layer_by_hand() -> None:
    core = FcCore("fc", 5, 12, 4, 20, penc=48)
    used = layer_resources(core, small_accelerator())
    assert used.luts == 200 + 2 * 48 + 5 * (64 + 4 * 32 + 32)
    assert used.flip_flops == 200 + (48 + 48) + 5 * (64 + 2 * 32 + 32 + 1)
    assert used.dsp == 5 * 2
    # weights: 20*49*32 bits in 2 halves, but 5 cores; potentials 5; spike train 1; addresses 4*48*6 bits 1
    assert used.bram36 == (5 + 5 + 1 + 1) / 2
    assert used.uram == 0


def test_a_convolution_by_hand() -> None:
    core = ConvCore("conv", 4, 2, 100, 8, 64, 3, penc=25, spike_buffer=100)
    used = layer_resources(core, replace(small_accelerator(), weight_bits=8, membrane_bits=16))
    assert used.luts == 200 + 2 * 25 + 2 * 2 * 7 + 4 * (64 + 4 * 16 + 8)  # two buffers of 100 addresses of 7 bits
    assert used.flip_flops == 200 + (100 + 25) + 4 * (64 + 2 * 16 + 8 + 64)
    assert used.dsp == 4
    assert used.bram36 == (4 + 4 + 3) / 2  # weights 4 cores; potentials 4; a map of 100 bits is three ports wide


def test_a_dense_layer_by_hand() -> None:
    used = layer_resources(DenseCore("conv1", 2, 3, 64, 4, 36, 3), small_accelerator())
    assert used.luts == 200 + 2 * (64 + 4 * 32 + 27 * 8)
    assert used.flip_flops == 200 + 2 * (64 + 2 * 32 + 27 * 64 + 36)
    assert used.dsp == 2 * (27 * 2 + 2)
    assert used.bram36 == (2 + 2 + 1) / 2  # weights, potentials, the image of 3*64 bytes


def test_weights_multipliers_and_addresses_are_counted() -> None:
    assert weight_words(FcCore("fc", 5, 12, 4, 20, penc=48)) == 20 * 49
    assert weight_words(ConvCore("conv", 2, 2, 16, 4, 16, 3, penc=4, spike_buffer=16)) == 4 * 19
    assert [multipliers(*bits) for bits in ((25, 18), (26, 18), (32, 19), (4, 8))] == [1, 2, 4, 1]
    assert [address_bits(conv(in_frame=frame)) for frame in (1, 2, 900)] == [1, 1, 10]
    assert address_bits(fc(in_frame=900)) == 12


@pytest.mark.parametrize(
    ("cores", "bits", "blocks"),
    [
        (1, 4, 2),  # 18 a word: 5,925 words
        (1, 8, 3),  # 9 a word: 11,849 words
        (1, 32, 14),  # 2 a word, 8 bits left over: 53,320 words
        (1, 36, 14),
        (1, 37, 27),  # 1 a word
        (1, 72, 27),
        (1, 73, 54),  # two blocks side by side
        (20, 32, 14),
        (40, 32, 20),  # two cores a block, through its two ports
        (40, 144, 54),
    ],
)
def test_weights_in_ultraram_by_hand(cores: int, bits: int, blocks: int) -> None:
    core = FcCore("fc", cores, 65, 41, 40, penc=100)
    assert weight_words(core) == 106_640
    assert layer_resources(core, built("uram", (bits, 32, 8))).uram == blocks


@pytest.mark.parametrize("core", [conv(), dense(), fc()])
def test_ultraram_takes_the_weights_out_of_the_block_memory_and_changes_nothing_else(core: Core) -> None:
    in_bram, in_uram = (layer_resources(core, built(memory)) for memory in ("bram", "uram"))
    assert in_uram.uram == 1  # two cores, two ports
    assert in_uram.bram36 == in_bram.bram36 - 1  # two cores, a half each
    assert replace(in_uram, uram=0, bram36=in_bram.bram36) == in_bram


def test_ping_pong_doubles_the_spike_memories() -> None:
    single, double = (small_accelerator(schedule=name) for name in ("sequential", "ping_pong"))
    assert total(double).bram36 > total(single).bram36
    assert total(double).luts == total(single).luts


@given(st.sampled_from([conv(), dense(), fc()]), BITS, BITS, MEMORIES)
@PROPERTY
def test_more_bits_never_take_less_area(
    core: Core, first: tuple[int, ...], second: tuple[int, ...], memory: Literal["bram", "uram"]
) -> None:
    narrow, wide = (
        built(memory, tuple(bits.tolist())) for bits in (np.minimum(first, second), np.maximum(first, second))
    )
    assert (area(core, wide) >= area(core, narrow)).all()


@given(CORES, CORES, st.booleans(), BITS, MEMORIES)
@PROPERTY
def test_more_cores_never_take_less_area(
    first: tuple[int, ...],
    second: tuple[int, ...],
    dense_first: bool,
    bits: tuple[int, ...],
    memory: Literal["bram", "uram"],
) -> None:
    few, many = (
        small_accelerator(neural_cores=cores.tolist(), dense_first=dense_first).layers
        for cores in (np.minimum(first, second), np.maximum(first, second))
    )
    for less, more in zip(few, many, strict=True):
        assert (area(more, built(memory, bits)) >= area(less, built(memory, bits))).all()


@given(st.tuples(*[st.integers(1, 300)] * 6), st.integers(0, 50))
@PROPERTY
def test_wider_encoders_larger_frames_and_more_steps_never_take_less_area(
    sizes: tuple[int, ...], steps_more: int
) -> None:
    encoders, inputs, outputs = (sorted(sizes[index : index + 2]) for index in (0, 2, 4))
    short = built()
    long = replace(short, time_steps=short.time_steps + steps_more)
    small = (
        conv(in_frame=inputs[0], out_frame=outputs[0], penc=encoders[0]),
        dense(in_frame=inputs[0], out_frame=outputs[0]),
        fc(in_frame=inputs[0], penc=encoders[0]),
    )
    large = (
        conv(in_frame=inputs[1], out_frame=outputs[1], penc=encoders[1]),
        dense(in_frame=inputs[1], out_frame=outputs[1]),
        fc(in_frame=inputs[1], penc=encoders[1]),
    )
    for less, more in zip(small, large, strict=True):
        assert (area(more, long) >= area(less, short)).all()


def test_an_accelerator_beyond_any_part_of_the_device_does_not_fit() -> None:
    device = load_device("xcvu13p")
    full = Resources(**{part: device.available(part) for part in PARTS})
    assert full.fits(device)
    assert set(full.utilisation(device).values()) == {1.0}
    assert not replace(full, bram36=full.bram36 + 0.5).fits(device)
    for part in ("luts", "flip_flops", "uram", "dsp"):
        assert not replace(full, **{part: getattr(full, part) + 1}).fits(device)


def test_nothing_of_nothing_is_nothing_and_something_of_nothing_does_not_fit() -> None:
    device = load_device("xcku115")
    assert device.uram == 0
    assert Resources(luts=1).utilisation(device)["uram"] == 0
    assert Resources(luts=1).fits(device)
    assert Resources(uram=1).share(device, "uram") == math.inf
    assert not Resources(uram=1).fits(device)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_the_device_does_not_state_is_refused_where_it_is_occupied(part: str) -> None:
    device = replace(load_device("xcvu13p"), name="board", **{part: None})  # type: ignore[arg-type]
    others = Resources(**{name: 1 for name in PARTS if name != part})
    assert others.fits(device)
    assert others.utilisation(device)[part] == 0
    with pytest.raises(DeviceError, match=f"device board: {part} is unknown"):
        replace(others, **{part: 1}).fits(device)
