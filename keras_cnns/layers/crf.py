"""Mean-field inference in a dense conditional random field."""

from typing import Any

import keras
from keras import ops

from keras_cnns.layers._numbers import plain
from keras_cnns.layers._types import Cost, Tensor, TensorShape


@keras.saving.register_keras_serializable(package="keras_cnns")
class DenseCRF(keras.layers.Layer):
    """Refine class scores by the colors and positions of all pixels.

    Every pixel is connected with every other one. Two Gaussian kernels say how much they have in common: the spatial
    one looks at positions, the bilateral one at positions and colors. An iteration of mean-field inference is

        probabilities = softmax(scores)
        messages = spatial_filter(probabilities) @ spatial + bilateral_filter(probabilities) @ bilateral
        scores = inputs - messages @ compatibility

    Both filters are means over all pixels, the pixel itself included, weighted by the kernel. The three matrices
    (classes, classes) are trained; the widths of the kernels are fixed. There is no gradient with respect to the image.

    The filters are exact. The spatial one is computed along rows and columns. The bilateral one needs a matrix of
    (height * width)**2 float32 values per image, which is kept for all iterations: 64 MiB at 64x64 pixels, 1 GiB at
    128x128; while it is computed, a few times as much is needed. Use the layer on small images, or on maps at a stride
    of 8, as DeepLab scores them. It computes in float32 under
    every dtype policy, unless the layer itself has dtype "float64".

    Args:
        iterations: mean-field steps; the paper trains with 5 and tests with 10.
        position_std: width of the bilateral kernel in positions, in pixels of the map.
        color_std: width of the bilateral kernel in colors, in the image's units.
        spatial_std: width of the spatial kernel, in pixels of the map.
        bilateral_weight: initial diagonal of the matrix `bilateral`.
        spatial_weight: initial diagonal of the matrix `spatial`.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: a list of two tensors: class scores before the softmax, (batch, height, width, classes), and the images,
            (batch, height, width, channels), pixels of 0 to 255. Both of the same height and width, any float dtype.

    Returns:
        Refined scores before the softmax, (batch, height, width, classes), float32.

    Raises:
        ValueError: if a width or the number of iterations is not positive, or the two shapes do not fit.

    Reference:
        S. Zheng et al.: Conditional Random Fields as Recurrent Neural Networks, ICCV 2015, section 4.
        P. Krahenbuhl, V. Koltun: Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NIPS 2011.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import layers
        >>> scores, images = np.zeros((1, 32, 32, 21)), np.zeros((1, 32, 32, 3))
        >>> layers.DenseCRF(iterations=5)([scores, images]).shape
        TensorShape([1, 32, 32, 21])
    """

    def __init__(
        self,
        iterations: int = 5,
        position_std: float = 160.0,
        color_std: float = 3.0,
        spatial_std: float = 3.0,
        bilateral_weight: float = 5.0,
        spatial_weight: float = 3.0,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(kwargs.pop("dtype", None))
        super().__init__(dtype="float64" if policy.compute_dtype == "float64" else "float32", **kwargs)
        widths = {"position_std": position_std, "color_std": color_std, "spatial_std": spatial_std}
        for name, value in {"iterations": iterations, **widths}.items():
            if not value > 0:
                raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
        self.iterations = int(plain(iterations))
        self.position_std, self.color_std = float(position_std), float(color_std)
        self.spatial_std = float(spatial_std)
        self.bilateral_weight, self.spatial_weight = float(bilateral_weight), float(spatial_weight)

    def build(self, input_shape: list[TensorShape]) -> None:
        classes = self._check(input_shape)[-1]

        def matrix(name, diagonal):
            initializer = keras.initializers.Identity(gain=diagonal)
            return self.add_weight(shape=(classes, classes), initializer=initializer, name=name)

        self.spatial = matrix("spatial", self.spatial_weight)
        self.bilateral = matrix("bilateral", self.bilateral_weight)
        # Potts: the same class lowers the energy
        self.compatibility = matrix("compatibility", -1.0)

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Refine the scores."""
        scores, images = (ops.cast(tensor, self.compute_dtype) for tensor in inputs)
        batch, height, width, classes = ops.shape(scores)
        rows, columns = self._positions(height), self._positions(width)
        along_rows, along_columns = _kernel(rows / self.spatial_std), _kernel(columns / self.spatial_std)
        similar = self._bilateral_kernel(images, rows, columns)

        refined = scores
        for _ in range(self.iterations):
            probabilities = ops.softmax(refined, axis=-1)
            near = ops.einsum("yi,xj,bijc->byxc", along_rows, along_columns, probabilities)
            alike = ops.matmul(similar, ops.reshape(probabilities, (batch, height * width, classes)))
            alike = ops.reshape(alike, (batch, height, width, classes))
            messages = ops.matmul(near, self.spatial) + ops.matmul(alike, self.bilateral)
            refined = scores - ops.matmul(messages, self.compatibility)
        return refined

    def _positions(self, count):
        return ops.cast(ops.arange(count), self.compute_dtype)

    def _bilateral_kernel(self, images, rows, columns):
        """Return the bilateral kernel (batch, pixels, pixels), normalized by row."""
        batch, height, width, channels = ops.shape(images)
        y = ops.repeat(rows, width) / self.position_std
        x = ops.tile(columns, [height]) / self.position_std
        colors = ops.reshape(ops.stop_gradient(images), (batch, height * width, channels)) / self.color_std
        # Differences first: |a|**2 + |b|**2 - 2 a b would lose the small distances to rounding
        distance = _squared_differences(y)[None] + _squared_differences(x)[None]
        for channel in range(channels):
            distance = distance + _squared_differences(colors[..., channel])
        return ops.softmax(-distance / 2, axis=-1)

    def _check(self, input_shape):
        """Return the shape of the scores."""
        if len(input_shape) != 2 or any(
            not isinstance(shape, list | tuple) or len(shape) != 4 for shape in input_shape
        ):
            raise ValueError(
                f"{self.name}: call the layer with a list of two tensors, scores (batch, height, width, classes) and "
                f"images (batch, height, width, channels). Received: input_shape={input_shape}"
            )
        scores, images = input_shape
        if any(None not in pair and pair[0] != pair[1] for pair in zip(scores[1:3], images[1:3], strict=True)):
            raise ValueError(
                f"{self.name}: scores and images must have the same height and width; resize the images to the map, or "
                f"the map to the images. Received: input_shape={input_shape}"
            )
        return tuple(scores)

    def compute_output_shape(self, input_shape: list[TensorShape]) -> TensorShape:
        return self._check(input_shape)

    def compute_cost(self, input_shape: list[TensorShape]) -> Cost:
        """Return the multiply-adds of filters and matrices, and no connections."""
        _, height, width, classes = self._check(input_shape)
        pixels = height * width
        per_pixel = (pixels + height + width) * classes + 3 * classes**2
        return {"macs": self.iterations * pixels * per_pixel, "connections": 0}

    def get_config(self) -> dict[str, Any]:
        own = {
            "iterations": self.iterations,
            "position_std": self.position_std,
            "color_std": self.color_std,
            "spatial_std": self.spatial_std,
            "bilateral_weight": self.bilateral_weight,
            "spatial_weight": self.spatial_weight,
        }
        return {**super().get_config(), **own}


def _squared_differences(values):
    """Return (..., n, n) of values (..., n)."""
    return ops.square(ops.expand_dims(values, -1) - ops.expand_dims(values, -2))


def _kernel(values):
    """Return Gaussian weights (n, n) of values, normalized by row."""
    return ops.softmax(-_squared_differences(values) / 2, axis=-1)
