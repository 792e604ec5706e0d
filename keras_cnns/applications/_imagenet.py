"""The ImageNet weights that keras.applications publishes, by the names of our layers.

Keras fetches its files itself, checks them and keeps them in `~/.keras` (or `$KERAS_HOME`).
"""

import contextlib
import errno
import os
import re
import socket
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from keras_cnns import _files
from keras_cnns.errors import ModelFileError

SERVER_TIMEOUT = 20  # seconds that the server of the files has to answer
# Inception v3's convolutions have no names there, but numbers in the order in which each module's are created
STEM = ("conv1a", "conv2a", "conv2b", "conv3b", "conv4a")
MODULES = {
    "5": ("1x1", "5x5_reduce", "5x5", "dbl_reduce", "dbl_1", "dbl_2", "pool_proj"),
    "6a": ("3x3", "dbl_reduce", "dbl_1", "dbl_2"),
    "6": ("1x1", *(f"7x7_{k}" for k in (1, 2, 3)), *(f"7x7dbl_{k}" for k in (1, 2, 3, 4, 5)), "pool_proj"),
    "7a": ("3x3_1", "3x3_2", *(f"7x7x3_{k}" for k in (1, 2, 3, 4))),
    "7": ("1x1", "3x3_1", "3x3_2a", "3x3_2b", "dbl_1", "dbl_2", "dbl_3a", "dbl_3b", "pool_proj"),
}


def fetch(builder, include_top):
    """Return {layer: its values, in the order of its weights} of a network; Keras fetches the file if it is not there.

    Args:
        builder: a network that is there too.
        include_top: whether the classifier is wanted; without it the file is smaller.

    Raises:
        ModelFileError: if the file cannot be fetched, or is not the published one.
    """
    import keras

    from keras_cnns._models import dtype_policy

    with _fetching(_weights_of(builder)), dtype_policy("float32"):
        theirs = getattr(keras.applications, builder)(weights="imagenet", include_top=include_top)
    return values_of(builder, theirs)


def check_reachable(builder: str, include_top: bool) -> None:
    """Raise an error if the file that `fetch` needs is neither here nor to be had; nothing is built or fetched.

    Args:
        builder, include_top: as for `fetch`.

    Raises:
        ModelFileError: if its server does not answer. A proxy is not asked.
    """
    import keras

    module = sys.modules[getattr(keras.applications, builder).__module__]
    url = getattr(module, "BASE_WEIGHTS_PATH", None)  # of ResNets, a folder; of the other networks the file itself
    url = url or getattr(module, "WEIGHTS_PATH" if include_top else "WEIGHTS_PATH_NO_TOP", "")
    ending = "" if include_top else "_notop"
    name = url.rpartition("/")[2] or f"{builder.lower()}_weights_tf_dim_ordering_tf_kernels{ending}.h5"
    address = urllib.parse.urlsplit(url)
    if (_home() / "models" / name).is_file() or not address.hostname or address.scheme in urllib.request.getproxies():
        return
    with _fetching(_weights_of(builder)):
        port = address.port or {"http": 80}.get(address.scheme, 443)
        socket.create_connection((address.hostname, port), SERVER_TIMEOUT).close()


def _weights_of(builder):
    return f"{builder}'s ImageNet weights"


def _home():
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()


def classes():
    """Return (ids in WordNet, names) of ImageNet's thousand classes, in the order of the outputs.

    The names are those of keras.applications, which has two cranes and two maillots: they get their ids behind them.

    Raises:
        ModelFileError: if its list of them cannot be fetched.
    """
    import keras
    import numpy as np

    with _fetching("the names of ImageNet's classes"):
        best = keras.applications.imagenet_utils.decode_predictions(np.eye(1000, dtype="float32"), top=1)
    ids, names, _ = zip(*(one for (one,) in best), strict=True)
    return ids, tuple(f"{name} ({id})" if names.count(name) > 1 else name for id, name in zip(ids, names, strict=True))


def values_of(builder, theirs):
    """Return {our layer: values} of a network of keras.applications."""
    if builder.startswith("VGG"):
        return {_vgg_name(layer.name): layer.get_weights() for layer in theirs.layers if layer.weights}
    return _resnet(theirs) if builder.startswith("ResNet") else _inception(theirs)


def _vgg_name(name):
    """block1_conv2 is conv1_2 in table 1."""
    block = re.match(r"block(\d)_conv(\d)", name)
    return f"conv{block[1]}_{block[2]}" if block else {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}[name]


def _resnet(theirs):
    """Its convolutions have biases, which the mean of the normalization behind them takes up."""
    from keras_cnns.applications.resnet import BATCH_NORM

    found, biases = {}, {}
    for layer in theirs.layers:
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
            values[3] = values[3] + (layer.epsilon - BATCH_NORM["epsilon"])
            name += "_bn"
        found["fc" if name == "predictions" else name] = values
    return found


def _inception(theirs):
    """Its batch normalization has no gamma: here it is one."""
    import keras
    import numpy as np

    def number(layer):
        return int((re.search(r"_(\d+)$", layer.name) or [0, 0])[1])

    names = list(STEM)
    for module in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
        names += [f"mixed_{module}_{part}" for part in MODULES.get(module, MODULES[module[0]])]
    found = {}
    for kind, suffix in ((keras.layers.Conv2D, ""), (keras.layers.BatchNormalization, "_bn")):
        layers = sorted((layer for layer in theirs.layers if isinstance(layer, kind)), key=number)
        for name, layer in zip(names, layers, strict=True):
            values = layer.get_weights()
            found[name + suffix] = [np.ones_like(values[0]), *values] if suffix else values
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.Dense):
            found["fc"] = layer.get_weights()
    return found


@contextlib.contextmanager
def _fetching(what):
    """Let one process at a time fetch, as Keras writes to the final name at once; its progress goes to stderr."""
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
