"""ImageNet weights of keras.applications under the names of our layers.

Keras downloads its files itself, checks them and keeps them in `~/.keras` (or `$KERAS_HOME`).
"""

import contextlib
import errno
import os
import re
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from keras_cnns import _files
from keras_cnns.errors import ModelFileError

if TYPE_CHECKING:
    import keras
    import numpy as np

CONNECT_TIMEOUT = 20  # seconds
# Inception v3's convolutions have no names in keras.applications. Their numbers follow the order of creation in each
# module, which is this one.
STEM = ("conv1a", "conv2a", "conv2b", "conv3b", "conv4a")
MODULES = {
    "5": ("1x1", "5x5_reduce", "5x5", "dbl_reduce", "dbl_1", "dbl_2", "pool_proj"),
    "6a": ("3x3", "dbl_reduce", "dbl_1", "dbl_2"),
    "6": ("1x1", *(f"7x7_{k}" for k in (1, 2, 3)), *(f"7x7dbl_{k}" for k in (1, 2, 3, 4, 5)), "pool_proj"),
    "7a": ("3x3_1", "3x3_2", *(f"7x7x3_{k}" for k in (1, 2, 3, 4))),
    "7": ("1x1", "3x3_1", "3x3_2a", "3x3_2b", "dbl_1", "dbl_2", "dbl_3a", "dbl_3b", "pool_proj"),
}


def fetch(builder: str, include_top: bool, layers: Mapping[str, "keras.Layer"]) -> "dict[str, list[np.ndarray]]":
    """Return the ImageNet weights of each of our layers.

    Keras downloads the file unless it has it already. The arrays of a layer are in the layer's order.

    Args:
        builder: public name of a network that keras.applications has too.
        include_top: whether the classifier is wanted; without it the file is smaller.
        layers: layers of our network by name.

    Raises:
        ModelFileError: if the file cannot be fetched, or is not the published one.
    """
    import keras

    from keras_cnns._models import dtype_policy

    with _fetching(_weights_of(builder)), dtype_policy("float32"):
        published = getattr(keras.applications, builder)(weights="imagenet", include_top=include_top)
    return translate(builder, published, layers)


def check_reachable(builder: str, include_top: bool) -> None:
    """Check that `fetch` will find its file or reach its server.

    Nothing is built or downloaded. Behind a proxy nothing is checked.

    Args:
        builder: public name of a network that keras.applications has too.
        include_top: whether the classifier is wanted.

    Raises:
        ModelFileError: if the server does not answer.
    """
    import keras

    module = sys.modules[getattr(keras.applications, builder).__module__]
    # For ResNets the module names a folder, for the other networks the file itself.
    url: str = getattr(module, "BASE_WEIGHTS_PATH", "")
    url = url or getattr(module, "WEIGHTS_PATH" if include_top else "WEIGHTS_PATH_NO_TOP", "")
    ending = "" if include_top else "_notop"
    name = url.rpartition("/")[2] or f"{builder.lower()}_weights_tf_dim_ordering_tf_kernels{ending}.h5"
    address = urllib.parse.urlsplit(url)
    if (_home() / "models" / name).is_file() or not address.hostname or address.scheme in urllib.request.getproxies():
        return
    with _fetching(_weights_of(builder)):
        port = address.port or {"http": 80}.get(address.scheme, 443)
        socket.create_connection((address.hostname, port), CONNECT_TIMEOUT).close()


def _weights_of(builder):
    return f"{builder}'s ImageNet weights"


def _home():
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()


def class_ids_and_names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the WordNet ids and names of ImageNet's classes.

    There are 1,000, in output order. The names are those of keras.applications. It has two cranes and two maillots,
    whose ids are added to their names.

    Raises:
        ModelFileError: if Keras's list of classes cannot be fetched.
    """
    import keras
    import numpy as np

    with _fetching("the names of ImageNet's classes"):
        decoded = keras.applications.imagenet_utils.decode_predictions(np.eye(1000, dtype="float32"), top=1)
    ids, names, _ = zip(*(best for (best,) in decoded), strict=True)
    return ids, tuple(f"{name} ({id})" if names.count(name) > 1 else name for id, name in zip(ids, names, strict=True))


def translate(
    builder: str, published: "keras.Model", layers: Mapping[str, "keras.Layer"]
) -> "dict[str, list[np.ndarray]]":
    """Return the weights of Keras's network by our layers' names.

    Args:
        builder: public name of the network.
        published: the network of keras.applications.
        layers: layers of our network by name.
    """
    if builder.startswith("VGG"):
        return {_vgg_name(layer.name): layer.get_weights() for layer in published.layers if layer.weights}
    return _resnet(published, layers) if builder.startswith("ResNet") else _inception(published)


def _vgg_name(name):
    """Return our name of a layer; block1_conv2 is conv1_2 in table 1."""
    block = re.match(r"block(\d)_conv(\d)", name)
    return f"conv{block[1]}_{block[2]}" if block else {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}[name]


def _resnet(published, layers):
    """Return the weights of a ResNet.

    Two things differ. Its convolutions have biases, which are subtracted from the mean of the normalization that
    follows. Its normalizations have another epsilon, whose difference from ours is added to the variance.
    """
    weights, biases = {}, {}
    for layer in published.layers:
        if not layer.weights:
            continue
        name = layer.name.removesuffix("_conv").removesuffix("_bn")
        if unit := re.match(r"conv(\d)_block(\d+)_(\d)$", name):
            part = "shortcut" if unit[3] == "0" else f"conv{unit[3]}"
            name = f"conv{unit[1]}_{unit[2]}_{part}"
        values = layer.get_weights()
        if layer.name.endswith("_conv"):
            biases[name] = values.pop()
        elif layer.name.endswith("_bn"):
            values[2] = values[2] - biases[name]
            name += "_bn"
            if name in layers:  # Otherwise the layer is reported as left over.
                values[3] = values[3] + (layer.epsilon - layers[name].epsilon)
        weights["fc" if name == "predictions" else name] = values
    return weights


def _inception(published):
    """Return the weights of Inception v3.

    Keras's batch normalization has no gamma there; ours gets ones.
    """
    import keras
    import numpy as np

    def number(layer: keras.Layer) -> int:
        return int((re.search(r"_(\d+)$", layer.name) or [0, 0])[1])

    names = list(STEM)
    for module in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
        names += [f"mixed_{module}_{part}" for part in MODULES.get(module, MODULES[module[0]])]
    weights = {}
    for kind, suffix in ((keras.layers.Conv2D, ""), (keras.layers.BatchNormalization, "_bn")):
        numbered = sorted((layer for layer in published.layers if isinstance(layer, kind)), key=number)
        for name, layer in zip(names, numbered, strict=True):
            values = layer.get_weights()
            weights[name + suffix] = [np.ones_like(values[0]), *values] if suffix else values
    for layer in published.layers:
        if isinstance(layer, keras.layers.Dense):
            weights["fc"] = layer.get_weights()
    return weights


@contextlib.contextmanager
def _fetching(what: str) -> Iterator[None]:
    """Let one process at a time fetch, and turn failures into `ModelFileError`.

    The lock is needed because Keras writes to the final file name at once. Keras's progress goes to stderr.

    Args:
        what: what is fetched, as the error names it.
    """
    home = _home()
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
    with _files.locked(home), contextlib.redirect_stdout(sys.stderr):
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            reason = " ".join(str(error).split())[:200].rstrip(" .") or type(error).__name__
            raise ModelFileError(
                what,
                f"cannot be fetched ({reason})",
                f"Try again where there is a network, or copy Keras's file into {home / 'models'}.",
            ) from error
