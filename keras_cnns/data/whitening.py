"""Principal components of images, and whitening by them."""

import dataclasses
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from keras_cnns._deprecated import renamed

if TYPE_CHECKING:
    # numpy is imported inside the functions, so that the records need only the standard library
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, eq=False)
class Whitening:
    """A linear map that gives images nearly unit covariance.

    Attributes:
        mean: float32 (values,), subtracted first.
        matrix: float32 (values, values), multiplied from the right.

    Examples:
        >>> from keras_cnns import data
        >>> preprocessing = data.Preprocessing((8, 8), 1)
        >>> images, _ = data.read_pixels(data.open_source("digits").split("train"), preprocessing)
        >>> whitening = data.fit_components([images]).zca(epsilon=0.1)
        >>> whitening.matrix.shape
        (64, 64)
        >>> preprocessing = data.Preprocessing((8, 8), 1, scale=(1.0,), whitening=whitening)
    """

    mean: Any
    matrix: Any

    def __post_init__(self):
        if self.matrix.shape != (len(self.mean),) * 2:
            raise ValueError(
                f"`matrix` must be square, with as many rows as `mean` has values. "
                f"Received: mean of {len(self.mean)}, matrix of shape {tuple(self.matrix.shape)}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Directions in which images vary, largest variance first.

    Attributes:
        mean: float64 (values,).
        components: float64 (components, values), orthonormal rows.
        variances: float64 (components,), the variance of the images along each component.
        total: sum of the variances along all directions, including those left out.

    Examples:
        >>> from keras_cnns import data
        >>> images, _ = data.read_pixels(data.open_source("digits").split("train"), data.Preprocessing((8, 8), 1))
        >>> components = data.fit_components([images]).keep(20)
        >>> round(components.variance_kept, 2)
        0.96
        >>> components.restore(components.compress(images)).shape
        (1437, 64)
    """

    mean: Any
    components: Any
    variances: Any
    total: float

    def keep(self, count: int) -> "PrincipalComponents":
        """Return the first `count` components.

        Args:
            count: number of components, at least 1.

        Raises:
            ValueError: if there are fewer.
        """
        if not 1 <= count <= len(self.components):
            raise ValueError(f"`count` must lie between 1 and {len(self.components)}. Received: count={count}")
        return dataclasses.replace(self, components=self.components[:count], variances=self.variances[:count])

    @property
    def variance_kept(self) -> float:
        """Share of the total variance along the components, 0 to 1."""
        return float(self.variances.sum() / self.total)

    @renamed(pictures="images")
    def compress(self, images: "NDArray[Any]") -> "NDArray[Any]":
        """Return the coordinates of images along the components.

        Args:
            images: array (images, ...), each with as many values as the mean.

        Returns:
            float64 (images, components).
        """
        return (_flat(images) - self.mean) @ self.components.T

    def restore(self, coordinates: "NDArray[Any]") -> "NDArray[Any]":
        """Return the images that have these coordinates.

        With fewer components than values, these are the nearest images that the components can express.

        Args:
            coordinates: array (images, components).

        Returns:
            float64 (images, values).
        """
        return coordinates @ self.components + self.mean

    @renamed(pictures="images")
    def whiten(self, images: "NDArray[Any]", epsilon: float = 0.0) -> "NDArray[Any]":
        """Return the coordinates of images, scaled to unit variance.

        Args:
            images: array (images, ...), each with as many values as the mean.
            epsilon: added to the variances before their square root is taken.

        Returns:
            float64 (images, components).
        """
        return self.compress(images) / self._deviations(epsilon)

    def unwhiten(self, coordinates: "NDArray[Any]", epsilon: float = 0.0) -> "NDArray[Any]":
        """Return the images that `whiten` maps to these coordinates.

        Args:
            coordinates: array (images, components).
            epsilon: the one given to `whiten`.

        Returns:
            float64 (images, values).
        """
        return self.restore(coordinates * self._deviations(epsilon))

    def zca(self, epsilon: float = 0.1) -> Whitening:
        """Return the whitening after which images still look like images.

        It rotates the whitened coordinates back into pixels.

        Args:
            epsilon: added to the variances, so that directions with almost no variance are not amplified.

        Reference:
            A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009, appendix A. Maxout Networks and
            Network in Network use it for their CIFAR images, after global contrast normalization. The default of
            `epsilon` is that of pylearn2.
        """
        matrix = (self.components.T / self._deviations(epsilon)) @ self.components
        return Whitening(self.mean.astype("float32"), matrix.astype("float32"))

    def _deviations(self, epsilon: float) -> "NDArray[Any]":
        import numpy as np

        return np.sqrt(np.maximum(self.variances, 0.0) + epsilon)


def fit_components(batches: "Iterable[NDArray[Any]]") -> PrincipalComponents:
    """Return all principal components of images.

    Args:
        batches: iterable of float arrays (images, ...), each image with the same number of values. It is read once, so
            that the images need not fit into memory together.

    Raises:
        ValueError: if there are fewer than two images.

    Examples:
        >>> from keras_cnns import data
        >>> images, _ = data.read_pixels(data.open_source("digits").split("train"), data.Preprocessing((8, 8), 1))
        >>> data.fit_components([images / 255]).components.shape
        (64, 64)
    """
    import numpy as np

    count, total, products = 0, 0.0, 0.0
    first: Any = None
    for batch in batches:
        flat = _flat(batch)
        if first is None:
            # This is near the overall mean. Sums of squares of the differences lose few digits.
            first = flat.mean(0)
        flat = flat - first
        count, total, products = count + len(flat), total + flat.sum(0), products + flat.T @ flat
    if count < 2:
        raise ValueError(f"a covariance needs at least two images. Received: {count}")
    mean = total / count
    variances, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    return PrincipalComponents(first + mean, vectors.T[::-1].copy(), variances[::-1].copy(), float(variances.sum()))


def _flat(images: "NDArray[Any]") -> "NDArray[Any]":
    """Return images as float64 (images, values)."""
    import numpy as np

    images = np.asarray(images, "float64")
    return images.reshape(len(images), math.prod(images.shape[1:]))
