"""Classic convolutional networks in Keras 3, from their papers to proven artifacts.

Importing this package imports neither keras nor tensorflow; its parts do so when first used:

    import keras_cnns

    model = keras_cnns.applications.NiN(weights="digits")

Where that imports TensorFlow, the lines that it writes about its start are left out, and TF_CPP_MIN_LOG_LEVEL is set to
3; set it yourself (0 shows all) and nothing is changed.
"""

import importlib

from keras_cnns import _quiet

__version__ = "0.1.0"

_PARTS = (
    "analysis",
    "applications",
    "data",
    "errors",
    "evaluation",
    "export",
    "layers",
    "recipes",
    "saving",
    "training",
)
__all__ = ["__version__", *_PARTS]


def __getattr__(name):
    if name in _PARTS:
        with _quiet.starting():
            return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
