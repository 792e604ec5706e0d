"""Principal components of images: whitening, and what few components keep."""

import dataclasses
import math
from typing import Any

from keras_cnns._deprecated import renamed


@dataclasses.dataclass(frozen=True, eq=False)
class Whitening:
    """A linear map after which the images it was fitted on have unit covariance, nearly.

    Attributes:
        mean: float32 (values,), subtracted first.
        matrix: float32 (values, values), multiplied from the right.
    """

    mean: Any
    matrix: Any

    def __post_init__(self):
        if self.matrix.shape != (len(self.mean),) * 2:
            raise ValueError(
                f"`matrix` must be square, of as many rows as `mean` has values. "
                f"Received: mean of {len(self.mean)}, matrix of shape {tuple(self.matrix.shape)}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Directions in which images vary, those with the largest variance first.

    Attributes:
        mean: float64 (values,).
        components: float64 (components, values), orthonormal rows.
        variances: float64 (components,), of the images along each.
        total: sum of the variances of all directions, those left out too.
    """

    mean: Any
    components: Any
    variances: Any
    total: float

    def keep(self, count):
        """Return the first `count` components; raise ValueError if there are not so many."""
        if not 1 <= count <= len(self.components):
            raise ValueError(f"`count` must lie between 1 and {len(self.components)}. Received: count={count}")
        return dataclasses.replace(self, components=self.components[:count], variances=self.variances[:count])

    @property
    def variance_kept(self):
        """Share of the variance that lies in the components, 0 to 1."""
        return float(self.variances.sum() / self.total)

    @renamed(pictures="images")
    def compress(self, images):
        """Return the coordinates (images, components) of images (images, ...) of as many values."""
        return (_flat(images) - self.mean) @ self.components.T

    def restore(self, coordinates):
        """Return images (images, values) from coordinates: the nearest ones that the components can say."""
        return coordinates @ self.components + self.mean

    @renamed(pictures="images")
    def whiten(self, images, epsilon=0.0):
        """Return coordinates (images, components) of unit variance; `epsilon` is added to the variances."""
        return self.compress(images) / self._roots(epsilon)

    def unwhiten(self, coordinates, epsilon=0.0):
        """Return the images (images, values) that `whiten` gave these coordinates for."""
        return self.restore(coordinates * self._roots(epsilon))

    def zca(self, epsilon=0.1):
        """Return the `Whitening` that turns back after `whiten`, so that images still look like images.

        Args:
            epsilon: added to the variances, so that directions in which hardly anything varies stay small.

        Reference:
            A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009, appendix A. Maxout Networks and
            Network in Network take their CIFAR images so, after global contrast normalization; `epsilon` is
            pylearn2's.
        """
        matrix = (self.components.T / self._roots(epsilon)) @ self.components
        return Whitening(self.mean.astype("float32"), matrix.astype("float32"))

    def _roots(self, epsilon):
        import numpy as np

        return np.sqrt(np.maximum(self.variances, 0.0) + epsilon)


def fit_components(batches):
    """Return the `PrincipalComponents` of images, all of them.

    Args:
        batches: iterable of float arrays (images, ...), each image of as many values; read once, so that as many
            fit as there are.

    Raises:
        ValueError: if there are fewer than two images.
    """
    import numpy as np

    count, total, products = 0, 0.0, 0.0
    first = None
    for batch in batches:
        flat = _flat(batch)
        if first is None:
            first = flat.mean(0)  # near the mean already: sums of squares then lose no digits
        flat = flat - first
        count, total, products = count + len(flat), total + flat.sum(0), products + flat.T @ flat
    if count < 2:
        raise ValueError(f"a covariance needs two images at least. Received: {count}")
    mean = total / count
    variances, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    return PrincipalComponents(first + mean, vectors.T[::-1].copy(), variances[::-1].copy(), float(variances.sum()))


def _flat(images):
    """Return images as float64 (images, values)."""
    import numpy as np

    images = np.asarray(images, "float64")
    return images.reshape(len(images), math.prod(images.shape[1:]))
