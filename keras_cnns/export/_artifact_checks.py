"""Check an artifact's contents and its description of itself."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_cnns import typing
from keras_cnns.errors import ArtifactError
from keras_cnns.export import inspection
from keras_cnns.export._prepared import Prepared
from keras_cnns.export.formats import FORMATS, INPUT, QUANTIZATIONS


def inspect_artifact(path: typing.Path, format: str, prepared: Prepared) -> inspection.Contents:
    """Return the `Contents` of an artifact, after checking them.

    Args:
        path: the artifact.
        format: a name of `FORMATS`.
        prepared: the model.

    Raises:
        ArtifactError: for operators that the plain runtime lacks, a size that does not fit the weights, and float
            tensors where all should be integers.
    """
    contents, options = inspection.inspect(path, format), prepared.options
    if contents.foreign:
        raise ArtifactError(
            f"it has operators that plain {FORMATS[format].runtime} lacks: {', '.join(contents.foreign)}"
        )
    if options.integer_only:
        for what, names in (("float tensors", contents.floats), ("tensors without a fixed shape", contents.dynamic)):
            if names:
                raise ArtifactError(f"it has {what}: {', '.join(names)}")
    _check_artifact_size(path, prepared)
    return contents


def _check_artifact_size(path, prepared):
    """Raise ArtifactError if weights are missing or stored twice."""
    size, weight_bytes = inspection.size(path), QUANTIZATIONS[prepared.options.quantize].weight_bytes
    shapes = [weight.shape for weight in prepared.model.weights]
    # Vectors may have been folded into other weights; int8 keeps biases in 32 bits, and one scale per channel
    expected = weight_bytes * sum(int(np.prod(shape)) for shape in shapes if len(shape) > 1)
    least = 0.9 * expected
    # Operators that a runtime does not quantize keep float32
    most = 1.1 * 4 * sum(int(np.prod(shape)) for shape in shapes) + 1_000_000 + 4_000 * len(shapes)
    if prepared.options.preprocess:
        most += sum(array.nbytes for array in prepared.preprocessing.arrays().values())
    if not least <= size <= most:
        raise ArtifactError(
            f"it has {size:,} bytes, and its weights take {expected:,}: "
            + ("some are missing" if size < least else "some are stored more than once")
        )


def check_description(description: Mapping[str, Any], prepared: Prepared) -> None:
    """Raise ArtifactError if names, types, labels or card are wrong.

    Args:
        description: inputs, outputs, card and labels, as the artifact's runtime describes them.
        prepared: the model.
    """
    options = prepared.options
    inputs, outputs = description["inputs"], description["outputs"]
    if set(inputs) != {INPUT}:
        raise ArtifactError(f"its inputs are called {sorted(inputs)} and not {INPUT!r}")
    if set(outputs) != set(prepared.outputs):
        raise ArtifactError(f"its outputs are called {sorted(outputs)} and not {sorted(prepared.outputs)}")
    image = inputs[INPUT]
    if image["dtype"] != options.input_type:
        raise ArtifactError(f"it takes {image['dtype']} and not {options.input_type}")
    output_type = options.input_type if options.integer_output else "float32"
    if wrong := {output["dtype"] for output in outputs.values()} - {output_type}:
        raise ArtifactError(f"it gives {', '.join(wrong)} and not {output_type}")
    if options.preprocess and image["scale"] is not None:
        zero_point = {"uint8": 0, "int8": -128}[image["dtype"]]
        if abs(image["scale"] - 1) > 1e-6 or image["zero_point"] != zero_point:
            raise ArtifactError(f"its input is scaled by {image['scale']} and does not take plain pixels")
    if description["card"]:
        check_card(description, prepared)


def check_card(description: Mapping[str, Any], prepared: Prepared) -> None:
    """Raise ArtifactError if an artifact's labels or card are wrong.

    Args:
        description: card and labels, as the artifact's runtime describes them.
        prepared: the model.
    """
    card, expected = description["card"], prepared.card("")
    for labels in (tuple(card.get("classes", ())), tuple((description["labels"] or "").splitlines())):
        _check_labels(labels, prepared.class_names)
    if card["source"]["weights_sha256"] != expected["source"]["weights_sha256"]:
        raise ArtifactError("it was made from other weights (their sha256 differs)")
    # Files of earlier versions lack the options that were added since
    card = {**card, "options": {**dict.fromkeys(expected["options"]), **card.get("options", {})}}
    for name in ("input", "outputs", "preprocessing", "options"):
        if card.get(name) != json.loads(json.dumps(expected[name])):
            raise ArtifactError(f"its description of its {name} is wrong: {card.get(name)}")


def _check_labels(labels, class_names):
    if labels == class_names:
        return
    pairs = zip(labels, class_names, strict=False)
    difference = next(((label, name) for label, name in pairs if label != name), None)
    reason = f"{difference[0]!r} instead of {difference[1]!r}" if difference else f"there are {len(labels)}"
    raise ArtifactError(f"its labels are not the model's: {reason}")
