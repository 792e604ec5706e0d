"""Features of images as vectors, and as points in a plane."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_cnns.analysis import _outputs
from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.typing import Images

METHODS = ("pca", "tsne")


def features(model: keras.Model, images: Images | Iterable[Any], layer: str | keras.Layer | None = None) -> np.ndarray:
    """Return the output of a layer for each image, as vectors.

    Args:
        model: functional or sequential `keras.Model` from images to one vector per image.
        images: float32 (images, height, width, channels), as the model takes them; or an iterable of such batches,
            each an array or a tuple whose first element is the array. The iterable is read once.
        layer: a layer, or its name. None: the layer whose output the logits are computed from, as in
            `invariance_curve`.

    Returns:
        float32 (images, values); maps are flattened.

    Raises:
        ArgumentError: (a ValueError) if there is no such layer, or no image.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> analysis.features(applications.LeNet5(), np.zeros((5, 32, 32, 1))).shape
        (5, 84)
    """
    model = _outputs.prepare_model(model)
    name = _outputs.last_layer(model) if layer is None else _outputs.check_one_output(model, layer)
    batches = _outputs.iterate_batches(model, images)
    outputs = [_outputs.layer_outputs(model, batch, (name,))[0][name] for batch in batches]
    if not outputs:
        raise ArgumentError("`images` must have an image. Received: none")
    vectors = np.concatenate(outputs)
    return vectors.reshape(len(vectors), -1)


def embed(vectors: ArrayLike, method: str = "pca", seed: int = 0) -> np.ndarray:
    """Return points in a plane, with similar vectors close together.

    Args:
        vectors: float array (vectors, values), at least three vectors.
        method: "pca": the two directions of largest variance. The map is linear, so distances between groups are
            meaningful. "tsne": neighbors stay neighbors, but distances between groups and sizes of groups mean
            nothing. If there are more than 50 values, t-SNE gets the first 50 principal components (section 4 of its
            paper uses 30).
        seed: seed of the random numbers.

    Returns:
        float32 (vectors, 2).

    Raises:
        ArgumentError: (a ValueError) if there is no such method, or the vectors have another shape, are too few, or
            are not finite.

    Reference:
        L. van der Maaten, G. Hinton: Visualizing Data using t-SNE, 2008.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis
        >>> analysis.embed(np.random.default_rng(0).normal(size=(20, 84))).shape
        (20, 2)
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # a dependency of scikit-learn

    if method not in METHODS:
        raise ArgumentError(
            f"`method` must be one of {', '.join(METHODS)}.{nearest(method, METHODS)} Received: method={method!r}"
        )
    array = np.asarray(vectors, "float64")
    if array.ndim != 2 or len(array) < 3 or not np.isfinite(array).all():
        raise ArgumentError(
            f"`vectors` must be finite numbers (vectors, values), three vectors at least. "
            f"Received: vectors of shape {array.shape}"
        )
    if array.shape[1] < 2:
        array = np.pad(array, ((0, 0), (0, 2 - array.shape[1])))

    def principal_components(count: int) -> np.ndarray:
        # For a few components of many values, Lanczos's method (ARPACK) is much faster than a full decomposition.
        count = min(count, *array.shape)
        solver = "arpack" if count < min(array.shape) else "full"
        return PCA(count, svd_solver=solver, random_state=seed).fit_transform(array)

    if method == "pca":
        return principal_components(2).astype("float32")
    if array.shape[1] > 50:
        array = principal_components(50)
    perplexity = min(30.0, (len(array) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    # t-SNE has many short parallel steps that wait for each other: on a busy machine they take thirty times as long.
    with threadpool_limits(1, "openmp"):
        return tsne.fit_transform(array.astype("float32")).astype("float32")
