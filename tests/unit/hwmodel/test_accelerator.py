"""Building accelerators: rules of the preset, and what is refused and how it says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hwmodel.accelerator import build_accelerator
from hwmodel.cores import ConvCore, DenseCore, FcCore, LayerShape
from hwmodel.device import known_devices, load_device
from hwmodel.errors import AcceleratorError, DeviceError, HwmodelError
from hwmodel.limits import check_cores, check_rtl, check_shapes
from hwmodel.preset import load_preset
from tests.unit.hwmodel.networks import SMALL, small_accelerator


def test_the_preset_sets_encoders_and_buffers() -> None:
    conv1, conv2, fc1, fc2 = small_accelerator().layers
    assert isinstance(conv1, ConvCore)
    assert (conv1.penc, conv1.spike_buffer, conv1.chunks) == (16, 64, 4)
    assert isinstance(conv2, ConvCore)
    assert (conv2.penc, conv2.chunks, conv2.groups("ideal")) == (2, 5, 4)
    assert isinstance(fc1, FcCore)
    assert isinstance(fc2, FcCore)
    assert (fc1.penc, fc1.inputs, fc1.chunks) == (48, 48, 1)
    assert (fc1.groups("ideal"), fc1.groups("rtl")) == (4, 5)


def test_a_map_of_less_than_four_positions_keeps_an_encoder_of_one() -> None:
    assert [load_preset("event-driven-2023").conv_encoder(frame) for frame in (1, 3, 4, 225)] == [1, 1, 1, 56]


def test_direct_coding_builds_a_dense_first_layer() -> None:
    first = small_accelerator(dense_first=True).layers[0]
    assert isinstance(first, DenseCore)
    assert (first.cores, first.out_frame) == (4, 36)
    uneven = replace(first, cores=3)
    assert (uneven.groups("ideal"), uneven.groups("rtl")) == (3, 2)


def test_direct_coding_needs_a_convolution_first() -> None:
    with pytest.raises(AcceleratorError, match=r"fc2: direct coding needs a convolution.*use rate coding"):
        small_accelerator(shapes=SMALL[3:], neural_cores=[2], dense_first=True)


@pytest.mark.parametrize(
    ("cores", "message"),
    [
        (
            [4, 5, 5, 2],
            r"neural_cores\.1 = 5: conv2 has 12 output channels; use a divisor: 1, 2, 3, 4, 6, 12$",
        ),
        ([4, 3, 5, 3], r"neural_cores\.3 = 3: fc2 has 10 neurons; use a divisor: 1, 2, 5, 10$"),
        ([0, 3, 5, 2], r"neural_cores\.0 = 0: conv1 has 8"),
        ([-4, 3, 5, 2], r"neural_cores\.0 = -4"),
        ([True, 3, 5, 2], r"neural_cores\.0 = True"),
        ([4, 3, 5], r"neural_cores has 3 entries; expected 4: conv1, conv2, fc1, fc2"),
    ],
)
def test_cores_must_divide_their_layer(cores: list[int], message: str) -> None:
    with pytest.raises(AcceleratorError, match=message):
        check_cores(SMALL, cores)


def test_dividing_cores_pass() -> None:
    check_cores(SMALL, [8, 12, 1, 10])


@pytest.mark.parametrize(
    ("index", "changes", "message"),
    [
        (0, {"kind": "pool"}, "conv1: kind 'pool' is unknown"),
        (0, {"in_frame": 0}, "conv1: in_frame must be a positive integer"),
        (0, {"kernel": 0}, "conv1: kernel of a convolution"),
        (2, {"kernel": 3}, "fc1: a fully connected layer has kernel 0"),
        (1, {"in_channels": 7}, "conv2: takes 7 maps of 9 positions, but conv1 gives 8 of 36"),
        (1, {"in_frame": 49}, "conv2: takes 8 maps of 49 positions"),
        (3, {"in_channels": 2, "in_frame": 10}, "fc2: in_channels x in_frame must be 1 x 20"),
    ],
)
def test_layers_must_exist_and_chain(index: int, changes: dict[str, Any], message: str) -> None:
    shapes = list(SMALL)
    shapes[index] = replace(shapes[index], **changes)
    with pytest.raises(AcceleratorError, match=message):
        check_shapes(shapes)


def test_no_convolution_follows_a_fully_connected_layer() -> None:
    with pytest.raises(AcceleratorError, match="conv2: a convolution cannot follow"):
        check_shapes([SMALL[3], SMALL[1]])


def test_an_empty_network_is_refused() -> None:
    with pytest.raises(AcceleratorError, match="no weighted layer"):
        check_shapes([])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "fast"}, "mode 'fast' is unknown; known: ideal, rtl"),
        ({"schedule": "parallel"}, "schedule 'parallel' is unknown; known: sequential, ping_pong"),
        ({"time_steps": 0}, "time_steps must be a positive integer"),
        ({"clock_hz": 0.0}, "clock_hz must be positive"),
        ({"clock_hz": float("nan")}, "clock_hz must be positive"),
        ({"preset": "mine"}, "preset 'mine' is unknown; known: event-driven-2023"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AcceleratorError, match=message):
        small_accelerator(**changes)


def test_widths_are_checked() -> None:
    with pytest.raises(AcceleratorError, match="weight_bits must be a positive integer"):
        replace(small_accelerator(), weight_bits=0)


CONV = ConvCore("conv9", 2, 4, 64, 8, 64, 3, penc=16, spike_buffer=64)
FC = FcCore("fc9", 1, 4, 16, 8, penc=200)


@pytest.mark.parametrize(
    ("core", "message"),
    [
        (replace(CONV, kernel=1), "conv9: the published circuit would hang: K = 1 .*; use mode 'ideal'"),
        (replace(CONV, kernel=6), "K = 6 overflows the kernel-phase counter"),
        (replace(CONV, kernel=7), "K = 7 overflows"),
        (replace(CONV, in_frame=9, penc=2), "5 chunks of 2, but the chunk counter ends at 4"),
        (FC, "fc9: .* group counter overflows with one core"),
        (replace(FC, cores=2, penc=2), "32 chunks of 2"),
        (DenseCore("conv1", 9, 3, 64, 8, 36, 3), "9 rows for 8 channels never start"),
    ],
)
def test_rtl_mode_refuses_what_would_hang(core: Any, message: str) -> None:
    with pytest.raises(AcceleratorError, match=message):
        check_rtl(core)


@pytest.mark.parametrize(
    "core",
    [
        CONV,
        replace(CONV, kernel=2),
        replace(CONV, kernel=5),
        replace(CONV, in_frame=8, penc=2),
        replace(FC, out_channels=12),
        replace(FC, cores=2),
    ],
)
def test_rtl_mode_takes_the_rest(core: Any) -> None:
    check_rtl(core)


def test_building_in_rtl_mode_checks_each_layer_and_ideal_does_not() -> None:
    small_accelerator(mode="ideal")
    with pytest.raises(AcceleratorError, match="conv2: the published circuit would hang: 5 chunks"):
        small_accelerator(mode="rtl")


def test_an_unknown_device_lists_the_known_ones() -> None:
    with pytest.raises(DeviceError, match="'xc7' is unknown; known: xc7z020, xc7z045, xcku115, xcvu13p"):
        small_accelerator(device="xc7")


def test_devices_state_their_source_and_unknown_power_raises() -> None:
    for name in known_devices():
        device = load_device(name)
        assert device.name == name
        assert device.source
        assert min(device.luts, device.flip_flops, device.bram36, device.dsp) > 0
    assert load_device("xcku115").static_power() == 1.270
    with pytest.raises(DeviceError, match=r"xc7z020: static power is unknown.*choose one of xc7z045, xcku115"):
        load_device("xc7z020").static_power()


def test_errors_are_value_errors_of_one_tree() -> None:
    assert issubclass(AcceleratorError, HwmodelError)
    assert issubclass(AcceleratorError, ValueError)


def test_the_paper_s_network_builds_in_rtl_mode() -> None:
    shapes = [
        LayerShape("conv1", "conv", 3, 1024, 32, 900, 3),
        LayerShape("conv2", "conv", 32, 225, 32, 169, 3),
        LayerShape("fc1", "fc", 32, 36, 256, 1, 0),
        LayerShape("fc2", "fc", 1, 256, 450, 1, 0),
    ]
    built = build_accelerator(
        shapes,
        [32, 16, 8, 9],
        dense_first=True,
        time_steps=18,
        clock_hz=100e6,
        mode="rtl",
        schedule="sequential",
        device="xcku115",
    )
    assert [core.kind for core in built.layers] == ["dense", "conv", "fc", "fc"]


def test_encoders_are_the_builders_choice() -> None:
    built = small_accelerator(encoder_widths=[8, None, 12, 20])
    conv1, conv2, fc1, fc2 = built.layers
    assert isinstance(conv1, ConvCore)
    assert isinstance(conv2, ConvCore)
    assert isinstance(fc1, FcCore)
    assert isinstance(fc2, FcCore)
    assert (conv1.penc, conv2.penc, fc1.penc, fc2.penc) == (8, 2, 12, 20)
    assert (conv1.chunks, fc1.chunks, fc2.chunks) == (8, 4, 1)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ([65, None, None, None], "conv1: encoder width 65: expected 1 to 64, the positions of a map"),
        ([None, None, 49, None], "fc1: encoder width 49: expected 1 to 48, the inputs"),
        ([None, 0, None, None], "conv2: encoder width 0: expected 1 to 9, the positions of a map"),
        ([None, 2.5, None, None], "conv2: encoder width 2.5: expected 1 to 9"),
        ([8, 8], "encoder_widths has 2 entries; expected 4: conv1, conv2, fc1, fc2"),
    ],
)
def test_an_encoder_wider_than_what_it_searches_is_refused(widths: list[Any], message: str) -> None:
    with pytest.raises(AcceleratorError, match=message):
        small_accelerator(encoder_widths=widths)


def test_a_dense_layer_has_no_encoder_to_choose() -> None:
    with pytest.raises(AcceleratorError, match=r"encoder_widths.0 = 8: conv1 is dense and has no encoder"):
        small_accelerator(dense_first=True, encoder_widths=[8, None, None, None])


def test_an_empty_spike_buffer_is_refused() -> None:
    built = small_accelerator()
    assert isinstance(built.layers[0], ConvCore)
    with pytest.raises(AcceleratorError, match="conv1: spike buffer of 0 entries"):
        replace(built, layers=(replace(built.layers[0], spike_buffer=0), *built.layers[1:]))


def test_the_systemc_model_has_three_fully_connected_layers() -> None:
    with pytest.raises(AcceleratorError, match="three fully connected layers, got conv-conv-fc-fc"):
        small_accelerator(mode="tlm")


def test_ultraram_is_refused_where_there_is_none() -> None:
    with pytest.raises(AcceleratorError, match="device xcku115 has none; use 'bram'"):
        replace(small_accelerator(), weight_memory="uram")
