"""Which part of an image is shown, how large, and whether mirrored."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cnns.typing import Size

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class View:
    """How an image is shown.

    Whoever cuts a part out of an image also moves its target by this record, so that both stay together. The fields may
    be numbers or scalar tensors.

    Attributes:
        window: (top, left, height, width) of the part that is shown, in pixels of the image. They need not be whole,
            and the window may reach beyond the image.
        size: (height, width) to which the part is resized, in pixels.
        mirrored: whether left and right are exchanged afterwards.

    Examples:
        >>> from keras_cnns import data
        >>> view = data.View(window=(0, 100, 200, 200), size=(50, 50), mirrored=True)
        >>> rows, columns = view.places()
        >>> rows[:2].tolist(), columns[:2].tolist()
        ([2.0, 6.0], [298.0, 294.0])
    """

    window: Any
    size: Size
    mirrored: "bool | tf.Tensor" = False

    def back(self, boxes: Any) -> Any:
        """Return boxes of the view in pixels of the image.

        Args:
            boxes: float array (n, 4), top, left, bottom, right in pixels of the view.

        Returns:
            float32 array (n, 4).
        """
        top, left, height, width = (np.float32(self.window[k]) for k in range(4))
        boxes = np.array(boxes, "float32").reshape(-1, 4)
        if self.mirrored:
            boxes[:, [1, 3]] = np.float32(self.size[1]) - boxes[:, [3, 1]]
        zoom = np.array([height / self.size[0], width / self.size[1]] * 2, "float32")
        return boxes * zoom + np.array([top, left] * 2, "float32")

    def places(self) -> tuple[Any, Any]:
        """Return where the shown pixels lie in the image.

        Returns:
            (rows, columns): float32 of lengths height and width of `size`. They are the centers of the pixels, in
            pixels of the image from its upper left corner, so that the center of the first pixel of an image lies at
            0.5.
        """
        top, left, height, width = (self.window[k] for k in range(4))
        rows, columns = (np.arange(side, dtype="float32") + np.float32(0.5) for side in self.size)
        rows = rows * (height / np.float32(self.size[0])) + top
        columns = columns * (width / np.float32(self.size[1])) + left
        if isinstance(self.mirrored, bool):
            return rows, columns[::-1] if self.mirrored else columns
        import tensorflow as tf

        return rows, tf.where(self.mirrored, columns[::-1], columns)
