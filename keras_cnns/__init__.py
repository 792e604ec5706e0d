"""Classic convolutional networks in Keras 3, from their papers to proven artifacts.

Importing this package imports neither keras nor tensorflow; its parts do so when first used:

    import keras_cnns

    model = keras_cnns.applications.NiN(weights="digits")
"""

import importlib

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
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
