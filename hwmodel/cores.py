"""Layers and cores: what the network says, and what is built for it. Frames are numbers of positions, never widths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

Mode: TypeAlias = Literal["ideal", "rtl", "tlm"]
Schedule: TypeAlias = Literal["sequential", "ping_pong"]


@dataclass(frozen=True)
class LayerShape:
    """Geometry of one weighted layer, as the network defines it.

    Attributes:
        name: "conv1", "conv2", "fc1", ...
        kind: "conv" or "fc".
        in_channels: Maps coming in; for an fc layer fed by an fc layer 1.
        in_frame: Positions of one incoming map, after the previous layer's pooling (the image for the first
            layer); for an fc layer fed by an fc layer the neurons of that layer.
        out_channels: Maps going out; neurons of an fc layer.
        out_frame: Positions of one outgoing map, before this layer's pooling; 1 for fc.
        kernel: Kernel width; 0 for fc.
    """

    name: str
    kind: Literal["conv", "fc"]
    in_channels: int
    in_frame: int
    out_channels: int
    out_frame: int
    kernel: int


@dataclass(frozen=True)
class DenseCore:
    """Direct-coded first layer: `cores` rows of C*K*K multiply-accumulate cells, timed alike for all data."""

    kind: ClassVar[Literal["dense"]] = "dense"
    name: str
    cores: int
    in_channels: int
    in_frame: int
    out_channels: int
    out_frame: int
    kernel: int

    def groups(self, mode: Mode) -> int:
        """Passes over the image in one time step; `rtl` rounds down, as the circuit does."""
        return self.out_channels // self.cores if mode == "rtl" else ceil_div(self.out_channels, self.cores)


@dataclass(frozen=True)
class ConvCore:
    """Event-driven convolution: one control unit and `cores` neural cores, one output channel each."""

    kind: ClassVar[Literal["conv"]] = "conv"
    name: str
    cores: int
    in_channels: int
    in_frame: int
    out_channels: int
    out_frame: int
    kernel: int
    penc: int
    spike_buffer: int

    @property
    def chunks(self) -> int:
        """Encoder loads M for one map."""
        return ceil_div(self.in_frame, self.penc)

    def groups(self, mode: Mode) -> int:
        """Output-channel groups G; each re-reads the whole spike train."""
        return ceil_div(self.out_channels, self.cores)


@dataclass(frozen=True)
class FcCore:
    """Event-driven fully connected layer: compresses all steps first, then accumulates group by group."""

    kind: ClassVar[Literal["fc"]] = "fc"
    name: str
    cores: int
    in_channels: int
    in_frame: int
    out_channels: int
    penc: int
    out_frame: ClassVar[int] = 1

    @property
    def inputs(self) -> int:
        """Neurons feeding this layer."""
        return self.in_channels * self.in_frame

    @property
    def chunks(self) -> int:
        """Encoder loads M for one step's concatenated maps."""
        return ceil_div(self.inputs, self.penc)

    def groups(self, mode: Mode) -> int:
        """Passes over the spikes, in `tlm` the logical-to-hardware ratio.

        `rtl` makes one pass too many when the cores divide the layer.
        """
        whole = self.out_channels // self.cores
        return whole + 1 if mode == "rtl" else ceil_div(self.out_channels, self.cores)


Core: TypeAlias = DenseCore | ConvCore | FcCore


def divisors(width: int) -> list[int]:
    """Divisors of a positive number, ascending."""
    return [candidate for candidate in range(1, width + 1) if width % candidate == 0]


def ceil_div(total: int, part: int) -> int:
    """Quotient rounded up."""
    return -(-total // part)


def counter_range(size: int) -> int:
    """Values of a counter of ceil(log2 size) bits: the next power of two."""
    return 1 << (size - 1).bit_length()
