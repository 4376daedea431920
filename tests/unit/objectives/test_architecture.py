from __future__ import annotations

import pytest

from objectives.architecture import Conv, Dense, Pool, check_network, layer_shapes, layers, parse_network
from objectives.errors import NetworkError


def test_blocks() -> None:
    assert parse_network("32C3-MP2-32C5p2-AP3-16C3-P4-256-10") == (
        Conv(32, 3, 0),
        Pool("max", 2),
        Conv(32, 5, 2),
        Pool("average", 3),
        Conv(16, 3, 0),
        Pool("max", 4),
        Dense(256),
        Dense(10),
    )


def test_shapes_of_the_published_network() -> None:
    shapes = layer_shapes("32C3-P2-32C3-MP2-256-450", (3, 32, 32))
    assert [(s.name, s.kind, s.in_channels, s.in_frame, s.out_channels, s.out_frame, s.kernel) for s in shapes] == [
        ("conv1", "conv", 3, 32 * 32, 32, 30 * 30, 3),
        ("conv2", "conv", 32, 15 * 15, 32, 13 * 13, 3),
        ("fc1", "fc", 32, 6 * 6, 256, 1, 0),
        ("fc2", "fc", 1, 256, 450, 1, 0),
    ]


def test_odd_maps_are_floored() -> None:
    first, second = layers("4C3-MP2-10", (1, 9, 8))
    assert (first.out_shape, first.pooled_shape) == ((4, 7, 6), (4, 3, 3))
    assert second.in_shape == (4, 3, 3)


def test_a_fully_connected_first_layer_sees_the_image() -> None:
    (only,) = layer_shapes("10", (3, 4, 5))
    assert (only.in_channels, only.in_frame) == (3, 20)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("8C3-XP2-10", r"token 2 'XP2' \(column 5\): expected a convolution"),
        ("8C3--10", r"token 2 '' \(column 5\)"),
        ("", r"token 1 ''"),
        ("0C3-10", r"token 1 '0C3'"),
        ("8c3-10", r"token 1 '8c3'"),
        ("8C3p-10", r"token 1 '8C3p'"),
        (" 10", r"token 1 ' 10'"),
        ("MP2-10", r"token 1 'MP2'.*a pool stands behind a convolution"),
        ("8C3-64-MP2-10", r"token 3 'MP2'.*a pool stands behind a convolution"),
        ("8C3-MP2-AP3-10", r"token 3 'AP3'.*write one pool of 6"),
        ("8C3-MP1-10", r"token 2 'MP1'.*a pool of 1"),
        ("64-8C3-10", r"token 2 '8C3' \(column 4\): a convolution cannot follow"),
        ("8C9-10", r"token 1 '8C9'.*the map is 8x8 here, smaller than the kernel 9"),
        ("8C3-MP2-8C3-8C3-10", r"token 4 '8C3'.*the map is 1x1 here"),
        ("8C3-MP7-10", r"token 2 'MP7'.*the map is 6x6 here, smaller than the pool 7"),
        ("8C3p3-10", r"token 1 '8C3p3'.*padding 3 is not smaller than the kernel 3; use at most 2"),
        ("8C3-MP2", r"the last layer is the convolution conv1; end with a number, a multiple of 10"),
        ("8C3-25", r"the last layer has 25 neurons; expected a multiple of the 10 classes"),
    ],
)
def test_errors_name_token_place_and_remedy(network: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        check_network(network, (1, 8, 8), 10)


def test_average_pool_behind_the_neurons_is_refused() -> None:
    check_network("8C3-AP2-10", (1, 8, 8), 10, pool="before_lif")
    check_network("8C3-P2-10", (1, 8, 8), 10, pool="after_lif")
    with pytest.raises(NetworkError, match=r"token 2 'AP2'.*write MP2 or use before_lif"):
        check_network("8C3-AP2-10", (1, 8, 8), 10, pool="after_lif")


def test_population_code_is_a_multiple_of_the_classes() -> None:
    check_network("8C3-450", (1, 8, 8), 10)
