"""Verify an artifact that was exported earlier."""

from collections.abc import Sequence
from pathlib import Path

import keras

from keras_cnns import typing
from keras_cnns.errors import ArtifactError, VerificationError
from keras_cnns.export import inspection, manifest
from keras_cnns.export._baseline import measure_baseline
from keras_cnns.export._opening import need_tensorflow, open_model
from keras_cnns.export._prepared import SHAPING
from keras_cnns.export.formats import FORMATS
from keras_cnns.export.options import Options
from keras_cnns.export.reports import Artifact, Report, make_report
from keras_cnns.export.runtimes import format_of_existing
from keras_cnns.export.verification import name_failures, verify_artifact
from keras_cnns.saving import ModelInfo


def verify(
    artifact: typing.Path,
    model: keras.Model | typing.Path,
    source: typing.Path | None = None,
    *,
    info: ModelInfo | None = None,
    labels: Sequence[str] | None = None,
    data_dir: typing.Path | None = None,
    tolerance: float | None = None,
    min_agreement: float | None = None,
    progress: typing.Log | None = None,
) -> Report:
    """Compare an artifact that was exported earlier with its model.

    Args:
        artifact: path of the artifact, which carries the options that it was exported with.
        model: as in `export_model`.
        source: source of the images, as `data.open_source` takes it; None: as `Options.verify_data`.
        info: as in `export_model`.
        labels: as in `Options`.
        data_dir: as in `Options`.
        tolerance: as in `Options`.
        min_agreement: as in `Options`.
        progress: function called with a line of text now and then.

    Returns:
        A `Report` with one artifact.

    Raises:
        ArgumentError: if there is no such artifact, its format is unknown, or an argument cannot be used.
        VerificationError: if the artifact's sha256 is not that of the manifest beside it, or it differs from the model.

    Examples:
        >>> from keras_cnns import applications, export
        >>> path = applications.weights_info("NiN", "digits").path
        >>> written = export.export_model(path, "exports", "onnx")
        >>> report = export.verify(written.artifacts[0].path, path)
        >>> report.artifacts[0].parity.agreement
        1.0
    """
    say = progress or (lambda text: None)
    artifact = Path(artifact)
    format = format_of_existing(artifact)
    need_tensorflow()
    opened = open_model(model, info)
    entry, sha256 = manifest.entry_of(artifact), inspection.sha256(artifact)
    _check_hash(artifact, sha256, entry, say)
    with name_failures(artifact.name, format, None, is_kept=True):
        shaping, class_names = _read_card(artifact, format)
    carries_names = opened.info is not None and opened.info.class_names
    options = Options(
        **shaping,
        verify_data=source,
        data_dir=data_dir,
        tolerance=tolerance,
        min_agreement=min_agreement,
        # A model that carries no class names has those that it was exported with
        labels=labels or (None if carries_names else class_names),
    )
    options.check([format])
    prepared = opened.prepare(options)
    baseline = measure_baseline(prepared, opened.info, say)
    say(f"running {artifact.name} with {FORMATS[format].runtime} on {baseline.images.description}")
    verification = verify_artifact(artifact, format, prepared, baseline, name=artifact.name, is_kept=True)
    verified = Artifact.of(format, artifact, artifact, sha256, None, verification)
    name = artifact.name.removesuffix(FORMATS[format].suffix)
    return make_report(name, prepared, baseline, [verified], entry and entry.get("calibration"))


def _check_hash(artifact, sha256, entry, say):
    """Raise VerificationError if an artifact is not the exported file."""
    if entry is None:
        say(f"no manifest has the sha256 of {artifact.name}: only its outputs and its description are compared")
    elif entry.get("sha256") != sha256:
        raise VerificationError(
            f"{artifact.name} is not the file that was exported: its sha256 is not that of the manifest beside it."
        )


def _read_card(path, format):
    """Return an artifact's options and class names from its card."""
    try:
        card = inspection.read_card(path, format)
        options = {name: card["options"][name] for name in SHAPING if name in card.get("options", {})}
        class_names = tuple(card.get("classes", ())) or None
        Options(**options).check([format])
        return options, class_names
    except (ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:  # the file may hold anything
        raise ArtifactError(f"it cannot be read ({' '.join(str(error).split())[:300]})") from error
