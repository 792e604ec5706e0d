"""Run an artifact and compare its outputs with the model's."""

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_cnns import typing
from keras_cnns.errors import ArtifactError, VerificationError
from keras_cnns.export._artifact_checks import check_description, inspect_artifact
from keras_cnns.export._baseline import Baseline, check_logits
from keras_cnns.export._prepared import Prepared
from keras_cnns.export.formats import ENOUGH_IMAGES, FORMATS, TOLERANCE
from keras_cnns.export.inspection import Contents
from keras_cnns.export.parity import Bounds, Parity, by_class, check_fusion, compare
from keras_cnns.export.runtimes import RuntimeProcess

FILE_IMAGES = 3  # number of images that `serve_image_bytes` is tried with


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a verification found out about an artifact that passed.

    Attributes:
        contents: `Contents` of the artifact.
        parity: `Parity` of the main output; None if the artifact was not run.
        inputs, outputs: descriptions by name; {} if the artifact was not run.
    """

    contents: Contents
    parity: Parity | None = None
    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    outputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def verify_artifact(
    path: typing.Path,
    format: str,
    prepared: Prepared,
    baseline: Baseline | None,
    *,
    name: str,
    is_kept: bool = False,
) -> Verification:
    """Inspect an artifact, run it, and compare it with the model.

    It runs in a child process.

    Args:
        path: the artifact.
        format: a name of `FORMATS`.
        prepared: the model.
        baseline: the model's outputs; None: the artifact is inspected and not run.
        name: name of the artifact in errors.
        is_kept: whether the artifact stays where it is if it fails.

    Raises:
        VerificationError: saying how the artifact differs from the model.
        ModuleNotFoundError: if the runtime is not installed.
    """
    with name_failures(name, format, baseline, is_kept):
        contents = inspect_artifact(path, format, prepared)
        if baseline is None:
            return Verification(contents)
        return _compare_artifact(path, format, prepared, baseline, contents)


@contextlib.contextmanager
def name_failures(name: str, format: str, baseline: Baseline | None, is_kept: bool) -> Iterator[None]:
    """Turn an ArtifactError into a VerificationError with the artifact's name.

    Args:
        name: name of the artifact.
        format: a name of `FORMATS`.
        baseline: whose images the artifact was run on; None if it was not run.
        is_kept: whether the artifact stays where it is.
    """
    try:
        yield
    except ArtifactError as error:
        where = f" ({baseline.images.description}, run by {FORMATS[format].runtime})" if baseline else ""
        raise VerificationError(
            f"{name} does not compute what the model computes: {error}{where}.{'' if is_kept else ' Nothing was kept.'}"
        ) from error


def _compare_artifact(path, format, prepared, baseline, contents):
    """Return the `Verification` of an artifact that a child process runs."""
    check_logits(prepared, baseline)
    images = prepared.as_input(baseline.images.images)
    with RuntimeProcess(path, format) as process:
        description = process.ask(do="describe")
        check_description(description, prepared)
        outputs = process.run(images)
        if format == "saved_model" and prepared.options.preprocess:
            _check_image_files(process, prepared, baseline.images.images[:FILE_IMAGES])
    parities = _compare_outputs(prepared, baseline, outputs)
    main = parities[0]
    if format == "onnx":
        unfused_parities = _compare_unfused(path, prepared, baseline, images, outputs)
        main = dataclasses.replace(main, unfused=unfused_parities[0])
    _refuse_faults(prepared, parities)
    if format == "onnx":
        _refuse_faults(prepared, unfused_parities, " without fused kernels")
    return Verification(contents, main, description["inputs"], description["outputs"])


def _compare_unfused(path, prepared, baseline, images, fused_outputs):
    """Return the `Parity` of each output of an ONNX file without fusion.

    Raises:
        ArtifactError: if the optimizations make the results much worse. This comes before all other faults, because
            it names the cure.
    """
    few_images = images[:ENOUGH_IMAGES]
    with RuntimeProcess(path, "onnx-unfused") as process:
        parities = _compare_outputs(prepared, baseline, process.run(few_images))
    same_outputs = {name: values[: len(few_images)] for name, values in fused_outputs.items()}
    check_fusion(_compare_outputs(prepared, baseline, same_outputs)[0], parities[0])
    return parities


def _compare_outputs(prepared, baseline, outputs):
    """Return the `Parity` of each output, the main one first.

    As many images are compared as there are outputs.
    """
    options = prepared.options
    bounds = Bounds(options.quantize, options.tolerance, options.min_agreement)
    return [
        compare(baseline.references[name].first(len(outputs[name])), outputs[name], bounds) for name in prepared.outputs
    ]


def _refuse_faults(prepared, parities, how=""):
    """Raise ArtifactError for the first output that exceeds a bound."""
    for parity, name in zip(parities, prepared.outputs, strict=True):
        if parity.fault:
            raise ArtifactError(("" if name == prepared.main_output else f"output {name}: ") + parity.fault + how)


def _check_image_files(process, prepared, images):
    """Raise ArtifactError unless `serve_image_bytes` equals the model.

    The model is given the pixels that this package reads from the same files.
    """
    from keras_cnns.data.pipeline import read_files

    files = _image_files(images)
    main, bounds = prepared.main_output, Bounds(tolerance=prepared.options.tolerance)
    pixels = read_files(map(io.BytesIO, files.values()), prepared.preprocessing)
    reference = prepared.compute_references(pixels)[main]
    outputs = process.run_files(list(files.values()))
    for k, kind in enumerate(files):
        single = dataclasses.replace(reference, values=reference.values[k : k + 1])
        parity = compare(single, outputs[main][k : k + 1], bounds)
        if parity.fault:
            raise ArtifactError(f"serve_image_bytes, for {kind}: {parity.fault}")
    for name, values in prepared.task.derive(outputs[main]).items():
        if not np.array_equal(outputs[name], values):
            raise ArtifactError(f"serve_image_bytes: its {name} is not what follows from its own {main}")
    if prepared.is_classifier and not prepared.scores_pixels:
        _check_best_classes(outputs, by_class(reference.values, main), prepared.class_names)


def _check_best_classes(outputs, expected, class_names):
    """Raise ArtifactError unless best classes and their names are the model's."""
    indices, fault = outputs["top_indices"], ""
    best = np.sort(expected, axis=1)[:, ::-1][:, : indices.shape[1]]
    if np.abs(np.take_along_axis(expected, indices, axis=1) - best).max() > TOLERANCE * max(1.0, np.abs(best).max()):
        fault = "its best classes are not the model's"
    if class_names and outputs["top_labels"].tolist() != np.array(class_names)[indices].tolist():
        fault = "its labels are not the model's"
    if fault:
        raise ArtifactError(f"serve_image_bytes: {fault}")


def _image_files(images):
    """Return files of the kinds that servers receive, by kind.

    Args:
        images: uint8 images of one size.
    """
    from PIL import ExifTags, Image

    first, last = (
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image) for image in (images[0], images[-1])
    )
    larger = first.resize((3 * first.width, 2 * first.height), Image.NEAREST)
    transparent = larger.copy()
    transparent.putalpha(Image.linear_gradient("L").resize(larger.size))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6  # the camera was held upright
    kinds = {
        "a PNG": (last, "PNG", {}),
        "a larger PNG": (larger, "PNG", {}),
        "a JPEG turned by its camera": (larger, "JPEG", {"exif": turned}),
        "a transparent PNG": (transparent, "PNG", {}),
        "a 16-bit PNG": (Image.fromarray(np.asarray(larger.convert("L")) * np.uint16(257)), "PNG", {}),
    }
    files = {}
    for kind, (image, format, settings) in kinds.items():
        file = io.BytesIO()
        image.save(file, format, **settings)
        files[kind] = file.getvalue()
    return files
