"""CPU time of one thread: the engine, plain snnTorch and others, in training and inference, on four sizes."""

from __future__ import annotations

from functools import partial

import torch

from tests.bench.bars import Bar
from tests.bench.training_bf16 import in_bf16
from tests.bench.training_sizes import (
    ROUNDS,
    Size,
    batch,
    differing_spikes,
    engine_works,
    plain,
    training,
    works_of,
)
from tests.bench.training_spikingjelly import HOW_TO_INSTALL, MultiStepNet, is_installed
from tests.bench.training_turns import Make, Timings, Work, in_turns

BASE, ENGINE = "plain snnTorch", "engine"


def speed_bars(size: Size) -> list[Bar]:
    """Print one size's table; the bars of training and inference."""
    differ = differing_spikes(size)
    repeats = {"train": size.repeats[0], "infer": size.repeats[1]}
    timings = in_turns(_makes(size), repeats, rounds=ROUNDS)
    print(f"\n{size.name}: {size.network} on {size.image}, T {size.time_steps}, batch {size.batch}; "
          f"{differ:.2%} of the output spikes differ between plain and engine")  # fmt: skip
    _table(timings["train"], timings["infer"])
    return [
        Bar(f"training/{size.name}/train", timings["train"].ratio(BASE, ENGINE), size.train_bar, "x"),
        Bar(f"training/{size.name}/infer", timings["infer"].ratio(BASE, ENGINE), size.infer_bar, "x"),
    ]


def plain_works(size: Size) -> dict[str, Work]:
    """Plain snnTorch."""
    return works_of(plain(size), *batch(size))


def _makes(size: Size) -> dict[str, Make]:
    makes: dict[str, Make] = {
        BASE: partial(plain_works, size),
        f"{BASE}, channels_last": partial(_channels_last_works, size),
        ENGINE: partial(engine_works, size),
        "engine, bf16 (opt-in)": partial(_bf16_works, size),
    }
    if is_installed():
        makes["SpikingJelly multi-step"] = partial(_spikingjelly_works, size, once=False)
        makes["SpikingJelly, first layer once"] = partial(_spikingjelly_works, size, once=True)
    return makes


def _channels_last_works(size: Size) -> dict[str, Work]:
    images, labels = batch(size)
    net = plain(size).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads lack it
    return works_of(net, images.contiguous(memory_format=torch.channels_last), labels)


def _bf16_works(size: Size) -> dict[str, Work]:
    trial = training(size)
    in_bf16(trial.network)
    return engine_works(size, trial)


def _spikingjelly_works(size: Size, *, once: bool) -> dict[str, Work]:
    return works_of(MultiStepNet(size, once=once), *batch(size))


def _table(trained: Timings, inferred: Timings) -> None:
    print(f"{'CPU time, one thread':34s} {'train ms':>9s} {'ratio':>6s} {'infer ms':>9s} {'ratio':>6s}")
    for name in trained.seconds:
        print(f"{name:34s} {trained.median_s(name) * 1e3:9.1f} {trained.ratio(BASE, name):6.2f} "
              f"{inferred.median_s(name) * 1e3:9.1f} {inferred.ratio(BASE, name):6.2f}")  # fmt: skip
    if not is_installed():
        print(f"{'SpikingJelly multi-step':34s} {HOW_TO_INSTALL}")
