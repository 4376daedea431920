"""Network strings such as `32C3-MP2-32C3p1-AP2-256-10`: parsed, sized for an image, checked. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from hwmodel.cores import LayerShape
from objectives.errors import NetworkError

_CONV = re.compile(r"([1-9]\d*)C([1-9]\d*)(?:p(\d+))?")
_POOL = re.compile(r"(MP|AP|P)([1-9]\d*)")
_DENSE = re.compile(r"[1-9]\d*")
_EXPECTED = (
    "expected a convolution such as 32C3 or 32C3p1, a pool such as MP2, P2 or AP2, or a number of neurons such as 256"
)


@dataclass(frozen=True)
class Conv:
    """`NCk[pP]`: a k x k convolution to N maps, stride 1, zero padding P (0 where not given)."""

    maps: int
    kernel: int
    padding: int = 0


@dataclass(frozen=True)
class Pool:
    """`MPk` or `Pk` (largest of k x k) or `APk` (their mean); the map shrinks to floor(size / k)."""

    kind: Literal["max", "average"]
    size: int


@dataclass(frozen=True)
class Dense:
    """A bare number: a fully connected layer of so many neurons."""

    neurons: int


Block = Conv | Pool | Dense


@dataclass(frozen=True)
class Layer:
    """One weighted layer with the pool behind it, sized.

    Shapes are `(channels, height, width)` for maps and `(neurons,)` after a fully connected layer;
    `out_shape` is before the pool, `pooled_shape` behind it (the same where there is none).
    """

    name: str
    block: Conv | Dense
    pool: Pool | None
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    pooled_shape: tuple[int, ...]


def parse_network(network: str) -> tuple[Block, ...]:
    """Parse a network string into its blocks.

    Raises:
        NetworkError: A token is malformed, a pool does not follow a convolution, or a convolution follows a
            fully connected layer; the message names the token and its position.
    """
    blocks: list[Block] = []
    for token, place in _tokens(network):
        block = _block(token, place)
        _check_order(blocks[-1] if blocks else None, block, place)
        blocks.append(block)
    return tuple(blocks)


def layers(network: str, image: tuple[int, int, int]) -> tuple[Layer, ...]:
    """The weighted layers of a network on images of shape `(channels, height, width)`.

    They are called conv1, conv2, ..., fc1, fc2, ... in order.

    Raises:
        NetworkError: The string is malformed, or a kernel or pool is larger than the map it meets.
    """
    blocks = parse_network(network)
    places = [place for _, place in _tokens(network)]
    sized: list[Layer] = []
    shape: tuple[int, ...] = image
    for index, block in enumerate(blocks):
        if isinstance(block, Pool):
            continue
        pool = blocks[index + 1] if index + 1 < len(blocks) else None
        out = _out_shape(block, shape, places[index])
        after = _pooled(pool, out, places[index + 1]) if isinstance(pool, Pool) else out
        name = _name(block, sized)
        sized.append(Layer(name, block, pool if isinstance(pool, Pool) else None, shape, out, after))
        shape = after
    return tuple(sized)


def layer_shapes(network: str, image: tuple[int, int, int]) -> tuple[LayerShape, ...]:
    """The weighted layers as the accelerator sees them.

    Raises:
        NetworkError: As `layers`.
    """
    return tuple(_hardware_shape(layer) for layer in layers(network, image))


def check_network(
    network: str, image: tuple[int, int, int], classes: int, *, pool: Literal["before_lif", "after_lif"] = "before_lif"
) -> None:
    """Check that a network fits the image, the number of classes and the place of its pools.

    Raises:
        NetworkError: As `layers`; or the last layer is no multiple of the classes; or an average pool stands
            behind the neurons, where its output would not be spikes.
    """
    last = layers(network, image)[-1]
    if not isinstance(last.block, Dense):
        raise NetworkError(
            f"the last layer is the convolution {last.name}; "
            f"end with a number, a multiple of {classes} (classes x population)"
        )
    if last.block.neurons % classes:
        raise NetworkError(
            f"the last layer has {last.block.neurons} neurons; expected a multiple of the {classes} classes"
        )
    for token, place in _tokens(network):
        if pool == "after_lif" and token.startswith("AP"):
            raise NetworkError(
                f"{place}: the mean of spikes is no spike, so pool: after_lif has max pools only; "
                f"write M{token[1:]} or use before_lif"
            )


def _tokens(network: str) -> list[tuple[str, str]]:
    """Tokens with their place in words."""
    found, column = [], 1
    for index, token in enumerate(network.split("-"), start=1):
        found.append((token, f"token {index} {token!r} (column {column})"))
        column += len(token) + 1
    return found


def _block(token: str, place: str) -> Block:
    if conv := _CONV.fullmatch(token):
        return Conv(int(conv[1]), int(conv[2]), int(conv[3] or 0))
    if pool := _POOL.fullmatch(token):
        if int(pool[2]) == 1:
            raise NetworkError(f"{place}: a pool of 1 changes nothing; remove it")
        return Pool("average" if pool[1] == "AP" else "max", int(pool[2]))
    if _DENSE.fullmatch(token):
        return Dense(int(token))
    raise NetworkError(f"{place}: {_EXPECTED}")


def _check_order(before: Block | None, block: Block, place: str) -> None:
    if isinstance(block, Conv) and isinstance(before, Dense):
        raise NetworkError(f"{place}: a convolution cannot follow a fully connected layer; put convolutions first")
    if isinstance(block, Pool) and isinstance(before, Pool):
        raise NetworkError(f"{place}: two pools in a row; write one pool of {before.size * block.size}")
    if isinstance(block, Pool) and not isinstance(before, Conv):
        raise NetworkError(f"{place}: a pool stands behind a convolution; put one before it or remove the pool")


def _out_shape(block: Conv | Dense, shape: tuple[int, ...], place: str) -> tuple[int, ...]:
    if isinstance(block, Dense):
        return (block.neurons,)
    _, height, width = shape
    if block.padding >= block.kernel:
        raise NetworkError(
            f"{place}: padding {block.padding} is not smaller than the kernel {block.kernel}; "
            f"use at most {block.kernel - 1}"
        )
    if block.kernel > min(height, width) + 2 * block.padding:
        raise NetworkError(
            f"{place}: the map is {height}x{width} here, smaller than the kernel {block.kernel}; "
            f"use a smaller kernel, padding or fewer pools"
        )
    grow = 2 * block.padding + 1 - block.kernel
    return (block.maps, height + grow, width + grow)


def _pooled(pool: Pool, shape: tuple[int, ...], place: str) -> tuple[int, ...]:
    maps, height, width = shape
    if pool.size > min(height, width):
        raise NetworkError(
            f"{place}: the map is {height}x{width} here, smaller than the pool {pool.size}; "
            f"use a smaller pool or remove it"
        )
    return (maps, height // pool.size, width // pool.size)


def _name(block: Conv | Dense, before: list[Layer]) -> str:
    kind = "conv" if isinstance(block, Conv) else "fc"
    return f"{kind}{1 + sum(layer.name.startswith(kind) for layer in before)}"


def _hardware_shape(layer: Layer) -> LayerShape:
    channels, frame = (
        (layer.in_shape[0], layer.in_shape[1] * layer.in_shape[2])
        if len(layer.in_shape) == 3
        else (1, layer.in_shape[0])
    )
    if isinstance(layer.block, Dense):
        return LayerShape(layer.name, "fc", channels, frame, layer.block.neurons, 1, 0)
    maps, height, width = layer.out_shape
    return LayerShape(layer.name, "conv", channels, frame, maps, height * width, layer.block.kernel)
