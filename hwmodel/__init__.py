"""Arithmetic model of an event-driven SNN accelerator: spike counts in; cycles, seconds and joules out.

Numpy, numba and PyYAML are all it needs, so it runs in a notebook:

>>> import numpy as np
>>> from hwmodel.accelerator import LayerShape, build_accelerator
>>> from hwmodel.simulate import simulate
>>> shapes = [
...     LayerShape("conv1", "conv", in_channels=3, in_frame=1024, out_channels=32, out_frame=900, kernel=3),
...     LayerShape("conv2", "conv", in_channels=32, in_frame=225, out_channels=32, out_frame=169, kernel=3),
...     LayerShape("fc1", "fc", in_channels=32, in_frame=36, out_channels=10, out_frame=1, kernel=0),
... ]
>>> accelerator = build_accelerator(shapes, [32, 16, 10], dense_first=True, time_steps=18)
>>> rng = np.random.default_rng(0)
>>> activity = [  # spikes at each layer's input (images, steps, channels); a dense first layer sees pixels
...     np.zeros((100, 18, 0), np.int32),
...     rng.binomial(225, 0.1, (100, 18, 32)).astype(np.int32),
...     rng.binomial(36, 0.1, (100, 18, 32)).astype(np.int32),
... ]
>>> simulation = simulate(accelerator, activity)
>>> print(f"{simulation.latency_ms:.3f} ms, {simulation.bottleneck} takes longest, fits: {simulation.fits_device}")
2.645 ms, conv2 takes longest, fits: True
>>> sorted(simulation.report()["latency_ms"])
['max', 'mean', 'p50', 'p95']

`print(simulation.table())` shows where the cycles and the joules go, `simulation.figure()` draws it.
"""
