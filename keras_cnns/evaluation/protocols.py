"""The papers' protocols of evaluation. Standard library only."""

import dataclasses
from collections.abc import Sequence

from keras_cnns.errors import ArgumentError, nearest

CropPosition = tuple[float, float]  # down and across, each from 0 (top or left edge) to 1 (bottom or right edge)

CENTER = ((0.5, 0.5),)
FIVE = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))  # the corners and the center


def grid(rows: int, columns: int) -> tuple[CropPosition, ...]:
    """Return positions spread evenly over an image, row by row.

    Args:
        rows: number of rows, at least 2.
        columns: number of columns, at least 2.

    Returns:
        (down, across) for each position, as `Protocol.positions` takes them.

    Examples:
        >>> from keras_cnns import evaluation
        >>> evaluation.grid(2, 2)
        ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
    """
    if min(rows, columns) < 2:
        raise ArgumentError(f"a grid has at least two rows and columns. Received: rows={rows}, columns={columns}")
    return tuple((row / (rows - 1), column / (columns - 1)) for row in range(rows) for column in range(columns))


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The views of an image over which probabilities are averaged.

    The image is resized, with the aspect kept. Views are crops of the input size, taken from the whole image or from
    three squares of it. With `dense`, the network takes the whole resized image instead.

    Attributes:
        name: name of the protocol, for `evaluate` and `cnn-evaluate --protocol`.
        scales: shorter sides to which the image is resized, as multiples of the longer side of the input, at least 1
            unless `dense`. Empty: the view of the preprocessing record if there is one crop in the center; otherwise
            the record's shorter side, or 256/224 if it has none.
        squares: whether crops are taken from the left, center and right square of the resized image (top, center and
            bottom for an upright image) instead of from the whole.
        positions: (down, across) of each crop, from 0 (top or left edge) to 1 (bottom or right edge). The default is
            one crop in the center.
        whole: whether the whole square or image, resized to the input, is one more view.
        mirror: whether each view is used a second time, mirrored.
        dense: whether the network is turned into convolutions (`dense_model`) that take the whole resized image. Its
            map of logits is averaged, and there are no crops.

    Where each pixel has a class, networks see whole images alone: `scales` are then multiples of their input, of any
    size, and `squares`, `whole` and other `positions` than the center are refused.

    Raises:
        ArgumentError: for a scale that is not positive, or below 1 for crops, a position outside 0 to 1, or a protocol
            without views.

    Examples:
        >>> from keras_cnns import evaluation
        >>> protocol = evaluation.Protocol("nine-crop", positions=evaluation.grid(3, 3))
        >>> protocol.views()  # per image, in evaluation.evaluate(..., protocol=protocol)
        9
    """

    name: str
    scales: tuple[float, ...] = ()
    squares: bool = False
    positions: tuple[CropPosition, ...] = CENTER
    whole: bool = False
    mirror: bool = False
    dense: bool = False

    def __post_init__(self):
        if any(scale <= 0 or (scale < 1 and not self.dense) for scale in self.scales):
            raise ArgumentError(
                f"`scales` must be at least 1, or the image is smaller than the crop. Received: scales={self.scales}"
            )
        if not all(0 <= place <= 1 for position in self.positions for place in position):
            raise ArgumentError(f"`positions` must lie between 0 and 1. Received: positions={self.positions}")
        if not (self.positions or self.whole or self.dense):
            raise ArgumentError("a protocol needs a view: `positions`, `whole` or `dense`. Received: positions=()")

    @property
    def is_center(self) -> bool:
        """Whether the only view is the one of the preprocessing record."""
        return self == Protocol(self.name)

    @property
    def keeps_view(self) -> bool:
        """Whether images are shown as the preprocessing record says."""
        return self == Protocol(self.name, mirror=self.mirror)

    def views(self, scales: int = 1) -> int:
        """Return the number of views per image.

        Args:
            scales: number of scales.
        """
        crops = 1 if self.dense else (len(self.positions) + self.whole) * (3 if self.squares else 1)
        return scales * crops * (2 if self.mirror else 1)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # The resize rule and center crop of the preprocessing record
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
        # The view of the record and its mirror image
        Protocol("mirror", mirror=True),
        # For masks: Chen et al. 2017, Rethinking Atrous Convolution for Semantic Image Segmentation, arXiv 1706.05587
        Protocol("multi-scale", scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), mirror=True, dense=True),
    )
}


def find_protocol(protocol: "str | Protocol") -> Protocol:
    """Return the protocol of a name, or a `Protocol` unchanged.

    Args:
        protocol: a key of `PROTOCOLS`, or a `Protocol`.

    Raises:
        ArgumentError: for an unknown name.
    """
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ArgumentError(
            f"`protocol` must be one of {', '.join(PROTOCOLS)}, or a `Protocol`.{nearest(protocol, PROTOCOLS)} "
            f"Received: protocol={protocol!r}"
        )
    return PROTOCOLS[protocol]


def shorter_sides(
    protocol: Protocol, size: tuple[int, int], shorter_side: int | None = None, scales: Sequence[int] | None = None
) -> list[int | None]:
    """Return the shorter sides to which images are resized.

    Args:
        protocol: `Protocol`.
        size: (height, width) of the input, in pixels.
        shorter_side: the one of the preprocessing record, in pixels.
        scales: shorter sides in pixels, instead of those of the protocol; None: those of the protocol.

    Returns:
        Pixels, one for each scale. None means that images are stretched to the input.

    Raises:
        ArgumentError: if a scale is smaller than the input.
    """
    if scales is not None or protocol.scales:
        sides = list(scales if scales is not None else (round(scale * max(size)) for scale in protocol.scales))
        if not sides or any(side < max(size) for side in sides):
            raise ArgumentError(
                f"`scales` must be shorter sides in pixels, at least those of the network's input, {max(size)}. "
                f"Received: protocol={protocol.name!r}, scales={tuple(sides)}"
            )
        return [int(side) for side in sides]
    if shorter_side is not None or protocol.keeps_view:
        return [shorter_side]
    return [round(256 / 224 * max(size))]
