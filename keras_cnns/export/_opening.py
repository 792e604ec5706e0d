"""Open the model that is exported or verified."""

import dataclasses
from pathlib import Path

import keras

from keras_cnns import saving, typing
from keras_cnns.errors import ArgumentError
from keras_cnns.export import inspection
from keras_cnns.export._prepared import Prepared
from keras_cnns.export.options import Options
from keras_cnns.export.preparation import prepare_model
from keras_cnns.saving import ModelInfo


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A model and where it is from.

    Attributes:
        model: the model.
        info: its record; None if it has none.
        name: name of its file, or of the model itself.
        sha256: hash of its file; None without a file.
    """

    model: keras.Model
    info: ModelInfo | None
    name: str
    sha256: str | None = None

    def prepare(self, options: Options) -> Prepared:
        """Return the `Prepared` of the model; an ArgumentError names the model's file."""
        try:
            return prepare_model(self.model, self.info, options, self.name, self.sha256)
        except ArgumentError as error:
            if self.sha256 is None:
                raise
            raise ArgumentError(f"{self.name}: {error}") from error


def open_model(model: keras.Model | typing.Path, info: ModelInfo | None) -> OpenedModel:
    """Return the `OpenedModel` of a model or a `.keras` file.

    Args:
        model: the model or path.
        info: its record; None: that of the file.
    """
    if isinstance(model, keras.Model):
        return OpenedModel(model, info, model.name)
    path = Path(model)
    loaded, own_info = saving.load_with_info(path)
    return OpenedModel(loaded, info or own_info, path.name, inspection.sha256(path))


def need_tensorflow() -> None:
    """Raise ArgumentError unless Keras runs on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise ArgumentError(
            "export needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow and load the .keras file, which any "
            f"backend may have written. Received: backend={keras.backend.backend()!r}"
        )
