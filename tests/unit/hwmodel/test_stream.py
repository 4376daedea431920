"""Streams of images: who starts when, and what one image leaves to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodel.accelerator import LayerShape, build_accelerator
from hwmodel.cores import ConvCore, Mode
from hwmodel.errors import AcceleratorError
from hwmodel.reference import ConvRecord, ideal_stream, rtl_stream
from hwmodel.simulate import simulate
from hwmodel.stream import stream
from tests.unit.hwmodel.networks import random_activity, small_accelerator

ONE_LAYER = (LayerShape("conv1", "conv", in_channels=2, in_frame=16, out_channels=6, out_frame=16, kernel=3),)


def one_layer(**changes: Any) -> Any:
    return build_accelerator(ONE_LAYER, [3], dense_first=False, time_steps=3, **changes)


def record_of(core: ConvCore) -> ConvRecord:
    return ConvRecord(
        groups=core.groups("ideal"),
        chunks=core.chunks,
        spike_buffer=core.spike_buffer,
        kernel=core.kernel,
        out_frame=core.out_frame,
        cores=core.cores,
    )


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_an_rtl_convolution_meets_the_drain_of_the_image_before(seed: int, rate: float) -> None:
    accelerator = one_layer(mode="rtl")
    counts = random_activity(accelerator, seed=seed, images=4, rate=rate)
    twins = rtl_stream(counts[0].tolist(), record_of(accelerator.layers[0]))
    assert stream(accelerator, counts).latency.tolist() == [twin.latency for twin in twins]


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_an_ideal_convolution_takes_the_next_image_while_it_drains(seed: int, rate: float) -> None:
    accelerator = one_layer(schedule="ping_pong")
    counts = random_activity(accelerator, seed=seed, images=4, rate=rate)
    streamed = stream(accelerator, counts)
    assert streamed.latency.tolist() == [
        twin.latency for twin in ideal_stream(counts[0].tolist(), record_of(accelerator.layers[0]))
    ]
    assert (streamed.starts[1:] == streamed.ready[:-1]).all()
    assert (streamed.starts[1:] < streamed.ends[:-1]).all()


@pytest.mark.parametrize("mode", ["ideal", "rtl"])
def test_a_sequential_stream_is_one_image_after_the_other(mode: Mode) -> None:
    fc = LayerShape("fc1", "fc", in_channels=6, in_frame=4, out_channels=10, out_frame=1, kernel=0)
    accelerator = build_accelerator([*ONE_LAYER, fc], [3, 5], dense_first=False, time_steps=3, mode=mode)
    counts = random_activity(accelerator, seed=3, images=5)
    streamed, alone = stream(accelerator, counts), simulate(accelerator, counts)
    assert streamed.latency.tolist() == alone.latency.tolist()
    assert streamed.starts[1:, 0].tolist() == streamed.ends[:-1, -1].tolist()
    assert streamed.interval == pytest.approx(alone.latency[1:].mean())


def test_ping_pong_is_held_by_the_slowest_layer() -> None:
    accelerator = small_accelerator(schedule="ping_pong")
    image = random_activity(accelerator, seed=4, images=1)
    streamed = stream(accelerator, [np.repeat(counts, 40, axis=0) for counts in image])
    alone = simulate(accelerator, image)
    steady = np.diff(streamed.ends[-10:, -1])
    slowest = int(alone.cycles[0].max())
    assert (steady <= slowest).all()  # less by what drains beside the next image
    assert (steady >= slowest - 200).all()
    assert streamed.fps == pytest.approx(alone.fps, rel=0.2)


def test_a_layer_waits_for_the_memory_it_writes() -> None:
    """A slow last layer holds the others back: no layer is more than two images ahead of its successor."""
    accelerator = small_accelerator(schedule="ping_pong", neural_cores=[8, 12, 1, 1])
    streamed = stream(accelerator, random_activity(accelerator, seed=5, images=12))
    assert (streamed.starts[2:, :-1] >= streamed.ready[:-2, 1:]).all()
    assert (streamed.starts[:, 1:] >= streamed.ends[:, :-1]).all()
    assert streamed.latency[-1] > streamed.latency[0]


def test_one_image_is_its_own_interval() -> None:
    accelerator = small_accelerator()
    streamed = stream(accelerator, random_activity(accelerator, seed=6, images=1))
    assert streamed.interval == streamed.latency[0]


def test_the_systemc_model_knows_single_images_only() -> None:
    shapes = [LayerShape(f"fc{i}", "fc", 1, 12, 12, 1, 0) for i in (1, 2, 3)]
    accelerator = build_accelerator(shapes, [4, 6, 12], dense_first=False, time_steps=2, mode="tlm")
    with pytest.raises(AcceleratorError, match="single images"):
        stream(accelerator, [np.ones((1, 2, 1), np.int32)] * 3)
    with pytest.raises(AcceleratorError, match="sequential"):
        replace(accelerator, schedule="ping_pong")
