"""A dense conditional random field, which refines maps after a network."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from keras_cnns.errors import ArgumentError

FLOOR = 1e-5  # the smallest probability that a network's scores are taken for


@dataclasses.dataclass(frozen=True)
class CRF:
    """Mean-field inference by the positions and colors of all pixels.

    It is what `layers.DenseCRF` computes with its first matrices, for images of any size: the spatial filter is a
    Gaussian blur, and the bilateral one runs on a lattice (`lattice.GaussianFilter`), whose values differ from the
    exact ones by some percent. The defaults are those of DeepLab version 2 on images of 500x375. Neither filter learns;
    choose the widths on validation images.

    Attributes:
        iterations: mean-field steps.
        position_std: width of the bilateral kernel in positions, in pixels of the image.
        color_std: width of the bilateral kernel in colors, of 0 to 255.
        spatial_std: width of the spatial kernel, in pixels of the image.
        bilateral_weight: weight of the bilateral filter.
        spatial_weight: weight of the spatial filter.

    Raises:
        ArgumentError: if a width or the number of iterations is not positive, or a weight is negative.

    Reference:
        P. Krahenbuhl, V. Koltun: Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NIPS 2011;
        L. Chen et al.: DeepLab, 2016, section 4.1.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import evaluation
        >>> image = np.repeat([[[0], [255]]], 4, axis=1).repeat(4, axis=0).repeat(3, axis=2).astype("uint8")
        >>> scores = np.random.default_rng(0).dirichlet([1, 1], (4, 8)).astype("float32")
        >>> evaluation.CRF(iterations=5).refine(scores, image).shape
        (4, 8, 2)
    """

    iterations: int = 10
    position_std: float = 67.0
    color_std: float = 3.0
    spatial_std: float = 1.0
    bilateral_weight: float = 4.0
    spatial_weight: float = 3.0

    def __post_init__(self) -> None:
        for name in ("iterations", "position_std", "color_std", "spatial_std"):
            if not 0 < getattr(self, name) < np.inf:
                raise ArgumentError(f"`{name}` must be positive. Received: {name}={getattr(self, name)}")
        for name in ("bilateral_weight", "spatial_weight"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ArgumentError(f"`{name}` must not be negative. Received: {name}={getattr(self, name)}")

    def refine(self, probabilities: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities of an image's pixels, refined.

        Args:
            probabilities: float32 (height, width, classes).
            image: uint8 (height, width, channels), the image itself, of the same size.

        Returns:
            float32 (height, width, classes).

        Raises:
            ArgumentError: if the two have different sizes.
        """
        # SciPy takes a tenth of a second to import
        from scipy.ndimage import gaussian_filter

        from keras_cnns.evaluation.lattice import GaussianFilter

        height, width, classes = probabilities.shape
        if image.shape[:2] != (height, width):
            raise ArgumentError(
                f"the image must have the size of its probabilities, {(height, width)}. Received: shape={image.shape}"
            )
        positions = np.moveaxis(np.indices((height, width), "float32"), 0, -1) / np.float32(self.position_std)
        points = np.concatenate([positions, image.astype("float32") / np.float32(self.color_std)], axis=-1)
        bilateral = GaussianFilter.of(points.reshape(height * width, -1))

        def blurred(maps: NDArray[np.float32]) -> NDArray[np.float32]:
            return gaussian_filter(maps, (self.spatial_std, self.spatial_std, 0), mode="constant", truncate=5.0)

        around = blurred(np.ones((height, width, 1), "float32"))
        scores = np.log(np.maximum(probabilities, FLOOR))
        refined = np.asarray(probabilities, "float32")
        for _ in range(self.iterations):
            alike = bilateral(refined.reshape(-1, classes)).reshape(refined.shape)
            messages = self.spatial_weight * blurred(refined) / around + self.bilateral_weight * alike
            energies = scores + messages
            powers = np.exp(energies - energies.max(-1, keepdims=True))
            refined = (powers / powers.sum(-1, keepdims=True)).astype("float32")
        return refined
