"""Export a model in the usual ways, for a benchmark."""

import dataclasses
from pathlib import Path

import keras

from keras_cnns import _models, typing
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.export.exporter import export_model
from keras_cnns.export.formats import FORMATS
from keras_cnns.export.options import Options
from keras_cnns.export.quantization import choose_calibration
from keras_cnns.saving import ModelInfo


def export_usual(
    model: keras.Model,
    folder: typing.Path,
    info: ModelInfo | None = None,
    *,
    stem: str | None = None,
    data_dir: typing.Path | None = None,
    progress: typing.Log | None = None,
) -> list[Path]:
    """Export a model in float32 and, if possible, in int8.

    In float32 it is written in every format. Int8 needs calibration images.

    Args:
        model: as in `export_model`.
        folder: folder to write into.
        info: as in `export_model`.
        stem: as in `export_model`.
        data_dir: folder of tensorflow-datasets.
        progress: as in `export_model`.

    Returns:
        The artifacts' paths.

    Raises:
        ArgumentError, OutputError, ConversionError: as in `export_model`.
    """
    say = progress or (lambda text: None)
    plain, int8 = Options(verify=False), Options(quantize="int8", verify=False, data_dir=data_dir)
    artifacts = [*export_model(model, folder, FORMATS, plain, info=info, stem=stem, progress=progress).artifacts]
    class_names = tuple(info.class_names) if info else ()
    preprocessing = (info and info.preprocessing) or _models.plain_preprocessing(model)
    try:
        calibration = choose_calibration(int8, preprocessing, info, class_names)
    except (ArgumentError, SourceError) as error:
        say(f"without int8: {error}")
    else:
        int8 = dataclasses.replace(int8, calibration=calibration and calibration.images)
        formats = [format.name for format in FORMATS.values() if "int8" in format.quantize]
        artifacts += export_model(model, folder, formats, int8, info=info, stem=stem, progress=progress).artifacts
    return [artifact.path for artifact in artifacts]
