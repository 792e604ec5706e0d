"""Networks by name. Standard library only, so that a misspelt name is answered at once."""

from keras_cnns import applications
from keras_cnns.errors import ArgumentError, nearest


def list_models():
    """Return the public names of all networks."""
    return sorted(applications._BUILDERS)


def canonical_name(name):
    """Return the public name of a network written in any case; raise ArgumentError if there is none."""
    for known in applications._BUILDERS:
        if known.casefold() == str(name).casefold():
            return known
    raise ArgumentError(
        f"there is no such network.{nearest(name, list_models())} There are {', '.join(list_models())}. "
        f"Received: name={name!r}"
    )


def create_model(name, /, **kwargs):
    """Return `applications.NAME(**kwargs)`, the name written in any case.

    Args:
        name: a name of `list_models()`.
        **kwargs: passed to the builder as they are.

    Raises:
        ArgumentError: if there is no network of that name.
    """
    return getattr(applications, canonical_name(name))(**kwargs)


def decode_predictions(probabilities, classes, top=5):
    """Return the best classes of each image.

    Args:
        probabilities: array (batch, classes) of any float dtype; of two classes also (batch, 1), the second one's.
        classes: class names, in the order of the columns.
        top: how many to return; all of them, if there are fewer.

    Returns:
        A list an image of (class name, probability), the most probable first; equal ones in class order.

    Raises:
        ValueError: if the number of names is not that of the columns.
    """
    import numpy as np

    probabilities = np.asarray(probabilities, "float32")
    if probabilities.shape[1:] == (1,) and len(classes) == 2:
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    if probabilities.ndim != 2 or probabilities.shape[1] != len(classes):
        raise ArgumentError(
            f"`probabilities` must have the shape (batch, {len(classes)}), a column for each of the classes. "
            f"Received: shape={probabilities.shape}"
        )
    if top < 1:
        raise ArgumentError(f"`top` must be at least 1. Received: top={top}")
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [[(classes[k], float(row[k])) for k in best] for row, best in zip(probabilities, order, strict=True)]
