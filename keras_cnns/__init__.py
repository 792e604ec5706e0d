"""Classic convolutional networks in Keras 3, from their papers to proven artifacts.

Importing this package imports neither keras nor tensorflow; its parts do so when first used:

    import keras_cnns

    model = keras_cnns.applications.NiN(weights="digits")

When a part imports TensorFlow, the lines that TensorFlow writes about its start are suppressed, and
TF_CPP_MIN_LOG_LEVEL is set to 3. Set the variable yourself (0 shows everything), and nothing is changed.

On x86 processors with AVX2, importing this package sets TF_ENABLE_ONEDNN_OPTS=1, with which TensorFlow trains faster;
newer processors have it on anyway. TensorFlow reads the variable when it is imported: import keras_cnns before keras,
or set it in the environment. A value of your own is kept.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from keras_cnns import _quiet

if TYPE_CHECKING:
    from keras_cnns import analysis as analysis
    from keras_cnns import applications as applications
    from keras_cnns import data as data
    from keras_cnns import errors as errors
    from keras_cnns import evaluation as evaluation
    from keras_cnns import export as export
    from keras_cnns import layers as layers
    from keras_cnns import recipes as recipes
    from keras_cnns import saving as saving
    from keras_cnns import tasks as tasks
    from keras_cnns import training as training

_quiet.choose_kernels()

__version__ = "0.2.0"

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
    "tasks",
    "training",
)
__all__ = ["__version__", *_PARTS]


def __getattr__(name: str) -> ModuleType:
    if name in _PARTS:
        with _quiet.starting():
            return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
