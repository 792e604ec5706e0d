"""Importing modules that define layers of neither Keras nor this package."""

import importlib.util
import inspect
import os
import sys
from pathlib import Path

import keras

from keras_cnns import _keras
from keras_cnns.errors import ArgumentError


def import_layers(text: str) -> None:
    """Import a module, and register its layers and functions with Keras.

    The module's code is run.

    Args:
        text: the module's name, which may be in the current folder, or the path of a .py file.

    Raises:
        ArgumentError: if there is no such module, or it fails.
        ModuleNotFoundError: if the module imports a package that is missing.
    """
    path = Path(text)
    name = path.stem if text.endswith(".py") else text
    if name in sys.modules:
        return
    if text.endswith(".py") and not path.is_file():
        raise ArgumentError(f"there is no such file. Received: --import {text}")
    folder = os.getcwd()
    sys.path.insert(0, folder)  # An installed command's path lacks the current folder
    try:
        if text.endswith(".py"):
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec and spec.loader  # As for every file that ends in .py
            module = sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        if isinstance(error, ModuleNotFoundError):
            if name == error.name or name.startswith(f"{error.name}."):
                raise ArgumentError(
                    "there is no such module; give the name of one that Python finds, or the path of a .py file. "
                    f"Received: --import {text}"
                ) from None
            raise
        reason = " ".join(str(error).split())[:200]
        raise ArgumentError(
            f"the module fails while it is imported ({type(error).__name__}: {reason}). Received: --import {text}"
        ) from error
    finally:
        sys.path.remove(folder)
    registered = keras.saving.get_custom_objects()
    for key, value in vars(module).items():
        is_layer = inspect.isclass(value) and issubclass(value, keras.Operation)
        if (is_layer or inspect.isfunction(value)) and value.__module__ == name:
            registered.setdefault(key, value)


def modules_of(model: keras.Model) -> list[str]:
    """Return the arguments of `import_layers` that a model needs.

    They are the modules that define layers of neither Keras nor this package.
    """
    names = {type(layer).__module__ for layer in _keras.all_layers(model)}
    arguments = []
    for name in sorted(names - {"__main__"}):
        if name.partition(".")[0] not in ("keras", "keras_cnns"):
            file = getattr(sys.modules.get(name), "__file__", None)
            arguments.append(name if "." in name or not file else file)
    return arguments
