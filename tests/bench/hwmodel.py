"""`make bench-hwmodel`: how fast the hardware model is. CPU seconds of one thread, best of several, unless said.

layer    32 -> 32 channels, 3x3, 16x16 maps, T = 10, 10 % spikes, 4 cores; the slower of the modes rtl and ideal
network  the DATE 2024 paper's network on 10,000 images, T = 18, with cycles and energy by cause: CPU and memory
speedup  the same layer in plain Python, visit by visit (`plain_hwmodel.py`), against the kernel
cold     the first simulation of a fresh process, kernels compiled before
sweep    three million accelerators for a trained network, wall clock (`hwmodel_sweep.py`)
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from hwmodel.accelerator import Accelerator, LayerShape, build_accelerator
from hwmodel.cores import ConvCore, Mode
from hwmodel.cycles import conv_timing, layer_cycles
from hwmodel.kernels import Counts
from hwmodel.simulate import simulate
from tests.bench import plain_hwmodel
from tests.bench.bars import Bar, report

LAYER = ConvCore("conv2", 4, 32, 256, 32, 256, 3, 64, 128)
PAPER = (
    LayerShape("conv1", "conv", in_channels=3, in_frame=1024, out_channels=32, out_frame=900, kernel=3),
    LayerShape("conv2", "conv", in_channels=32, in_frame=225, out_channels=32, out_frame=169, kernel=3),
    LayerShape("fc1", "fc", in_channels=32, in_frame=36, out_channels=256, out_frame=1, kernel=0),
    LayerShape("fc2", "fc", in_channels=1, in_frame=256, out_channels=450, out_frame=1, kernel=0),
)
PAPER_CORES = (32, 16, 8, 9)  # 8 does not divide the 450 outputs
PYTHON = {"rtl": plain_hwmodel.rtl_latency, "ideal": plain_hwmodel.ideal_latency}
MODES: tuple[Mode, ...] = ("rtl", "ideal")


def best_cpu_s(work: Callable[[], object], rounds: int) -> float:
    """Least CPU time of several rounds [s]."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def plain_python_s(mode: Mode, images: list[list[list[int]]], expected: list[int], *, count_off: bool) -> float:
    """CPU seconds an image of the plain Python form, whose latencies are checked first."""
    latency, timing = PYTHON[mode], conv_timing(LAYER, mode)

    def work() -> list[int]:
        return [latency(image, timing, count_off=count_off) for image in images]

    assert work() == expected
    return best_cpu_s(work, 5) / len(images)


def kernel_s(mode: Mode, counts: Counts) -> float:
    """CPU seconds an image of the kernel."""
    layer_cycles(LAYER, counts, mode)  # compiles
    return best_cpu_s(lambda: layer_cycles(LAYER, counts, mode), 15) / len(counts)


def layer_bars() -> list[Bar]:
    """The layer in both modes, against plain Python."""
    counts = np.random.default_rng(0).binomial(LAYER.in_frame, 0.1, (500, 10, 32)).astype(np.int32)
    lists = counts[:20].tolist()
    kernels, ratios = [], []
    print("layer      us/image   plain Python   ratio   plain Python, counting repeated groups off   ratio")
    for mode in MODES:
        expected = layer_cycles(LAYER, counts[:20], mode).cycles.tolist()
        kernel = kernel_s(mode, counts)
        visits = plain_python_s(mode, lists, expected, count_off=False)
        counted = plain_python_s(mode, lists, expected, count_off=True)
        kernels.append(kernel)
        ratios.append(visits / kernel)
        print(
            f"{mode:8s} {kernel * 1e6:10.2f} {visits * 1e6:14.0f} {visits / kernel:7.0f} "
            f"{counted * 1e6:45.0f} {counted / kernel:7.0f}"
        )
    return [
        Bar("hwmodel/layer", max(kernels) * 1e6, 10.0, "us", at_least=False),
        Bar("hwmodel/speedup", min(ratios), 100.0, "x"),
    ]


def paper_network(images: int) -> tuple[Accelerator, list[Counts]]:
    """The paper's network, and synthetic activity: each image and layer has a firing rate of its own, 2 to 25 %."""
    accelerator = build_accelerator(PAPER, PAPER_CORES, dense_first=True, time_steps=18)
    rng = np.random.default_rng(1)
    activity = [np.zeros((images, 18, 0), np.int32)]
    for shape in PAPER[1:]:
        rates = rng.uniform(0.02, 0.25, (images, 1, 1))
        counts = np.empty((images, 18, shape.in_channels), np.int32)
        for start in range(0, images, 500):
            part = slice(start, start + 500)
            counts[part] = rng.binomial(shape.in_frame, np.broadcast_to(rates[part], counts[part].shape))
        activity.append(counts)
    return accelerator, activity


def network_child() -> None:
    """In a process of its own: CPU seconds, then the process's peak memory in MB."""
    accelerator, activity = paper_network(10_000)
    simulate(accelerator, [counts[:2] for counts in activity]).report()  # compiles

    def whole() -> None:
        simulation = simulate(accelerator, activity)
        simulation.report()
        assert simulation.layer_energy_j.shape == (10_000, 4, 8)

    seconds = best_cpu_s(whole, 3)
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def network_bars() -> list[Bar]:
    seconds, megabytes = map(float, _child("network_child").split())
    print(f"network    {seconds:.3f} s for 10,000 images with report, {megabytes:.0f} MB at most")
    return [
        Bar("hwmodel/network", seconds, 0.4, "s", at_least=False),
        Bar("hwmodel/network/memory", megabytes, 300.0, "MB", at_least=False),
    ]


def cold_child() -> None:
    """In a fresh process: CPU seconds of the first simulation."""
    accelerator = build_accelerator(PAPER, PAPER_CORES, dense_first=True, time_steps=2)
    activity = [np.ones((1, 2, channels), np.int32) for channels in (0, 32, 32, 1)]
    print(best_cpu_s(lambda: simulate(accelerator, activity).latency_ms, 1), time.process_time())


def cold_bar() -> Bar:
    _child("cold_child")  # fills the kernel cache
    runs = [tuple(map(float, _child("cold_child").split())) for _ in range(5)]
    first, whole = min(runs)
    print(f"cold       {first:.2f} s to the first simulation, {whole:.2f} s with starting Python and all imports")
    return Bar("hwmodel/cold", first, 0.5, "s", at_least=False)


def _child(function: str) -> str:
    code = f"from tests.bench import hwmodel; hwmodel.{function}()"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def main() -> int:
    from tests.bench.hwmodel_sweep import sweep_bar  # trains a network: not in the children, whose memory is measured

    return report([*layer_bars(), *network_bars(), cold_bar(), sweep_bar()])


if __name__ == "__main__":
    sys.exit(main())
