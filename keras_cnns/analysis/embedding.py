"""A data set as points: the features of its images, and where they lie in a plane."""

import numpy as np

from keras_cnns.analysis import _outputs
from keras_cnns.errors import ArgumentError, nearest

METHODS = ("pca", "tsne")


def features(model, images, layer=None):
    """Return what a layer gives for each image, as vectors.

    Args:
        model: functional or sequential `keras.Model` from images to one vector an image.
        images: float32 (images, height, width, channels), as the model takes them; or an iterable of such batches,
            read once, each an array or a tuple whose first one is it.
        layer: name of a layer, or itself. None: the one whose output the logits are computed from, as in
            `invariance_curve`.

    Returns:
        float32 (images, values); maps are laid out as vectors.

    Raises:
        ArgumentError: (a ValueError) if there is no such layer, or no image.
    """
    model = _outputs.subject(model)
    layer = _outputs.last_layer(model) if layer is None else _outputs.check_one_output(model, layer)
    found = [_outputs.outputs_of(model, batch, (layer,))[0][layer] for batch in _outputs.batches(model, images)]
    if not found:
        raise ArgumentError("`images` must have an image. Received: none")
    found = np.concatenate(found)
    return found.reshape(len(found), -1)


def embed(vectors, method="pca", seed=0):
    """Return points in a plane, vectors that are alike near each other.

    Args:
        vectors: float array (vectors, values), three vectors at least.
        method: "pca": the two directions in which they vary most, a linear map, distances between groups are true;
            "tsne": neighbors stay neighbors, but distances between groups and the sizes of groups mean nothing. Of more
            than 50 values it sees the first 50 principal components, as its paper's section 4 does with 30.
        seed: of what is drawn.

    Returns:
        float32 (vectors, 2).

    Raises:
        ArgumentError: (a ValueError) if there is no such method, or the vectors are none.

    Reference:
        L. van der Maaten, G. Hinton: Visualizing Data using t-SNE, 2008.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # which scikit-learn brings

    if method not in METHODS:
        raise ArgumentError(
            f"`method` must be one of {', '.join(METHODS)}.{nearest(method, METHODS)} Received: method={method!r}"
        )
    vectors = np.asarray(vectors, "float64")
    if vectors.ndim != 2 or len(vectors) < 3 or not np.isfinite(vectors).all():
        raise ArgumentError(
            f"`vectors` must be finite numbers (vectors, values), three vectors at least. "
            f"Received: vectors of shape {vectors.shape}"
        )
    if vectors.shape[1] < 2:
        vectors = np.pad(vectors, ((0, 0), (0, 2 - vectors.shape[1])))

    def principal(count):
        # Of many values Lanczos's method finds the first components much sooner than all
        count = min(count, *vectors.shape)
        solver = "arpack" if count < min(vectors.shape) else "full"
        return PCA(count, svd_solver=solver, random_state=seed).fit_transform(vectors)

    if method == "pca":
        return principal(2).astype("float32")
    if vectors.shape[1] > 50:
        vectors = principal(50)
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    # Its many short parallel steps wait for each other: where other work runs, they take thirty times as long
    with threadpool_limits(1, "openmp"):
        return tsne.fit_transform(vectors.astype("float32")).astype("float32")
