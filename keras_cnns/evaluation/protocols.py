"""How a network is shown an image when it is measured: the papers' protocols. Standard library only."""

import dataclasses

from keras_cnns.errors import ArgumentError, nearest

CENTER = ((0.5, 0.5),)
FIVE = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))  # the corners and the center


def grid(rows, columns):
    """Return positions spread evenly over an image, as `Protocol` takes them, row by row."""
    if min(rows, columns) < 2:
        raise ArgumentError(f"a grid has two rows and columns at least. Received: rows={rows}, columns={columns}")
    return tuple((row / (rows - 1), column / (columns - 1)) for row in range(rows) for column in range(columns))


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Which views of an image a network is shown; its probabilities are averaged over them.

    The image is resized, its aspect kept; of it, or of its three squares, crops of the input's size are taken, or,
    dense, the network sees the whole of it at once.

    Attributes:
        name: as `evaluate` and `cnn-evaluate --protocol` take it.
        scales: shorter sides that the image is resized to, in proportion to the longer side of the input; (): the
            one of the preprocessing record, or 256/224 where it has none.
        squares: whether crops come from the left, center and right square of the resized image (of an upright one
            the top, center and bottom square), and not from all of it.
        positions: of the crops: (down, across) each, from 0, at the top or left edge, to 1, at the bottom or right.
        whole: whether there is one crop more, all of the square or image, resized to the input.
        mirror: whether each view is shown mirrored too.
        dense: whether the network is turned into convolutions (`dense_model`) and sees the whole resized image; its
            class map of logits is averaged. Then there are no crops.
    """

    name: str
    scales: tuple[float, ...] = ()
    squares: bool = False
    positions: tuple[tuple[float, float], ...] = CENTER
    whole: bool = False
    mirror: bool = False
    dense: bool = False

    def __post_init__(self):
        if any(scale < 1 for scale in self.scales):
            raise ArgumentError(
                f"`scales` must be at least 1, or the image is smaller than the crop. Received: scales={self.scales}"
            )
        if not all(0 <= place <= 1 for position in self.positions for place in position):
            raise ArgumentError(f"`positions` must lie between 0 and 1. Received: positions={self.positions}")
        if not (self.positions or self.whole or self.dense):
            raise ArgumentError("a protocol needs a view: `positions`, `whole` or `dense`. Received: positions=()")

    @property
    def is_center(self):
        """Whether it is one view as the preprocessing record has it, nothing else."""
        return self == Protocol(self.name)

    def views(self, scales=1):
        """Return the number of views of an image at so many scales."""
        crops = 1 if self.dense else (len(self.positions) + self.whole) * (3 if self.squares else 1)
        return scales * crops * (2 if self.mirror else 1)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # Resize and center crop of the preprocessing record
        Protocol("center"),
        # Krizhevsky et al. 2012, section 4.1; Zeiler and Fergus 2014, section 3
        Protocol("ten-crop", positions=FIVE, mirror=True),
        # Szegedy et al. 2015, section 7: shorter sides of 256, 288, 320 and 352 for an input of 224
        Protocol(
            "144-crop",
            scales=(256 / 224, 288 / 224, 320 / 224, 352 / 224),
            squares=True,
            positions=FIVE,
            whole=True,
            mirror=True,
        ),
        # Simonyan and Zisserman 2015, section 3.2
        Protocol("dense", mirror=True, dense=True),
    )
}


def find_protocol(protocol):
    """Return a `Protocol` as it is, or the one of a name; raise ArgumentError if there is none."""
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ArgumentError(
            f"`protocol` must be one of {', '.join(PROTOCOLS)}, or a `Protocol`.{nearest(protocol, PROTOCOLS)} "
            f"Received: protocol={protocol!r}"
        )
    return PROTOCOLS[protocol]


def shorter_sides(protocol, size, shorter_side=None, scales=None):
    """Return the shorter sides that images are resized to, in pixels; None: stretched to the input.

    Args:
        protocol: `Protocol`.
        size: (height, width) of the input.
        shorter_side: of the preprocessing record.
        scales: pixels that replace the protocol's; None: the protocol's.

    Raises:
        ArgumentError: if a scale is smaller than the input.
    """
    if scales is not None:
        if not scales or any(side < max(size) for side in scales):
            raise ArgumentError(
                f"`scales` must be shorter sides in pixels, at least those of the network's input, {max(size)}. "
                f"Received: scales={tuple(scales)}"
            )
        return [int(side) for side in scales]
    if protocol.scales:
        return [round(scale * max(size)) for scale in protocol.scales]
    if shorter_side is not None or protocol.is_center:
        return [shorter_side]
    return [round(256 / 224 * max(size))]
