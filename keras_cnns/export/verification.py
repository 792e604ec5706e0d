"""Proof that an artifact computes what its model computes."""

import dataclasses
import io
import json

import keras
import numpy as np

from keras_cnns import _models
from keras_cnns.errors import ArtifactError
from keras_cnns.export import inspection
from keras_cnns.export.formats import (
    ENOUGH_IMAGES,
    FORMATS,
    INPUT,
    LOGITS,
    OUTPUT,
    PROBABILITIES,
    QUANTIZATIONS,
    TOLERANCE,
)
from keras_cnns.export.parity import by_class, check_fusion, compare
from keras_cnns.export.runtimes import RuntimeProcess

FILES = 3  # images that logits and `serve_image_bytes` are tried with


def check(path, format, prepared, images, expected, largest):
    """Run an artifact in a process of its own and compare it with the model.

    Args:
        path: of the artifact.
        format: a name of `FORMATS`.
        prepared: `Prepared`.
        images: `Images`.
        expected, largest: the model's outputs for them and their largest logits, as `Prepared.expected` gives them.

    Returns:
        (`Parity` of the main output, description of the inputs, of the outputs).

    Raises:
        ArtifactError: saying in what the artifact differs from the model.
        ModuleNotFoundError: if the runtime is not installed.
    """
    options = prepared.options
    _check_logits(prepared, images, expected)
    with RuntimeProcess(path, format) as process:
        found = process.ask(do="describe")
        _check_description(found, prepared)
        outputs = process.run(prepared.given(images.images))
        if format == "saved_model" and options.preprocess:
            _check_files(process, prepared, images.images[:FILES])
    parities = _parities(prepared, images, expected, outputs, largest)
    if format != "onnx":
        _refuse_faults(parities, prepared)
        return parities[0], found["inputs"], found["outputs"]
    few = images.images[:ENOUGH_IMAGES]
    with RuntimeProcess(path, "onnx-unfused") as process:
        unfused = _parities(prepared, images, expected, process.run(prepared.given(few)), largest)
    same = {name: values[: len(few)] for name, values in outputs.items()}
    # First, as it names the cure
    check_fusion(_parities(prepared, images, expected, same, largest)[0], unfused[0])
    _refuse_faults(parities, prepared)
    _refuse_faults(unfused, prepared, " without fused kernels")
    return dataclasses.replace(parities[0], unfused=unfused[0]), found["inputs"], found["outputs"]


def _parities(prepared, images, expected, outputs, largest):
    """Return the `Parity` of each output, the main one first, for as many of the images as there are outputs."""
    options, parities = prepared.options, []
    for k, name in enumerate(prepared.outputs):
        count = len(outputs[name])
        labels = images.labels if k == 0 and prepared.is_classifier else None
        parity = compare(
            expected[name][:count],
            outputs[name],
            name if name in (PROBABILITIES, LOGITS) else _meaning(prepared),
            None if labels is None else labels[:count],
            quantize=options.quantize,
            tolerance=options.tolerance,
            min_agreement=options.min_agreement,
            largest=largest[name],
        )
        parities.append(parity)
    return parities


def _refuse_faults(parities, prepared, how=""):
    """Raise ArtifactError for the first output that is over a bound."""
    for parity, name in zip(parities, prepared.outputs, strict=True):
        if parity.fault:
            raise ArtifactError(("" if name == prepared.outputs[0] else f"output {name}: ") + parity.fault + how)


def _meaning(prepared):
    """Return what outputs with other names are: auxiliary heads are like the main one."""
    return prepared.outputs[0] if prepared.is_classifier else OUTPUT


def _check_logits(prepared, images, expected):
    """Raise an error if the logits that were taken out of a model are not those of its probabilities."""
    if prepared.outputs[0] != LOGITS or not _models.gives_probabilities(prepared.whole):
        return
    few = images.images[:FILES]
    whole = prepared.whole.predict_on_batch(prepared.preprocessing.normalize(few.astype("float32")))
    whole, logits = keras.tree.flatten(whole)[0], expected[LOGITS][:FILES]
    bound = TOLERANCE * max(1.0, float(np.abs(logits).max()))
    ways = (_models.softmax, lambda x: 1 / (1 + np.exp(-np.clip(x, -80, 80))))  # softmax, sigmoid
    if not any(np.abs(way(logits) - whole).max() <= bound for way in ways):
        raise ArtifactError("the logits that were taken out of the model do not give its probabilities")


def _check_description(found, prepared):
    """Raise ArtifactError if names, types or labels are not what they should be."""
    options = prepared.options
    if set(found["inputs"]) != {INPUT}:
        raise ArtifactError(f"its inputs are called {sorted(found['inputs'])} and not {INPUT!r}")
    if set(found["outputs"]) != set(prepared.outputs):
        raise ArtifactError(f"its outputs are called {sorted(found['outputs'])} and not {sorted(prepared.outputs)}")
    given, results = found["inputs"][INPUT], found["outputs"].values()
    if given["dtype"] != options.input_type:
        raise ArtifactError(f"it takes {given['dtype']} and not {options.input_type}")
    wanted = options.input_type if options.integer_output else "float32"
    if wrong := {one["dtype"] for one in results} - {wanted}:
        raise ArtifactError(f"it gives {', '.join(wrong)} and not {wanted}")
    if options.preprocess and given["scale"] is not None:
        meant = {"uint8": 0, "int8": -128}[given["dtype"]]
        if abs(given["scale"] - 1) > 1e-6 or given["zero_point"] != meant:
            raise ArtifactError(f"its input is scaled by {given['scale']} and not made for pixels as they are")
    if found["card"]:
        _check_card(found, prepared)


def _check_card(found, prepared):
    """Raise ArtifactError if what an artifact says of itself is not so."""
    card, wanted = found["card"], prepared.card("")
    for labels in (tuple(card.get("classes", ())), tuple((found["labels"] or "").splitlines())):
        if labels != prepared.class_names:
            pair = next(((a, b) for a, b in zip(labels, prepared.class_names, strict=False) if a != b), None)
            how = f"{pair[0]!r} stands where {pair[1]!r} should" if pair else f"there are {len(labels)}"
            raise ArtifactError(f"its labels are not the model's: {how}")
    if card["source"]["weights_sha256"] != wanted["source"]["weights_sha256"]:
        raise ArtifactError("it was made of other weights (their sha256 differs)")
    # Files of earlier versions lack the options that were added since
    card = {**card, "options": {**dict.fromkeys(wanted["options"]), **card.get("options", {})}}
    for name in ("input", "outputs", "preprocessing", "options"):
        if card.get(name) != json.loads(json.dumps(wanted[name])):
            raise ArtifactError(f"what it says of its {name} is not so: {card.get(name)}")


def _check_files(process, prepared, images):
    """Raise ArtifactError if `serve_image_bytes` does not find in image files what the model finds in their pixels."""
    from keras_cnns.data.pipeline import read_files

    files = _image_files(images)
    main = prepared.outputs[0]
    expected, largest = prepared.expected(read_files(map(io.BytesIO, files.values()), prepared.preprocessing))
    expected, found = expected[main], process.run_files(list(files.values()))
    for k, kind in enumerate(files):
        parity = compare(
            expected[k : k + 1],
            found[main][k : k + 1],
            main,
            tolerance=prepared.options.tolerance,
            largest=largest[main],
        )
        if parity.fault:
            raise ArtifactError(f"serve_image_bytes, for {kind}: {parity.fault}")
    if not prepared.is_classifier:
        return
    fault, indices, names = "", found["top_indices"], np.array(prepared.class_names)
    expected = by_class(expected, main)
    best = np.sort(expected, axis=1)[:, ::-1][:, : indices.shape[1]]
    if np.abs(np.take_along_axis(expected, indices, axis=1) - best).max() > TOLERANCE * max(1.0, np.abs(best).max()):
        fault = "its best classes are not the model's"
    if len(names) and found["top_labels"].tolist() != names[indices].tolist():
        fault = "its labels are not the model's"
    if fault:
        raise ArtifactError(f"serve_image_bytes: {fault}")


def _image_files(images):
    """Return image files of the kinds that servers are sent, as {kind: bytes}, made of uint8 images of one size."""
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


def inspect_artifact(path, format, prepared):
    """Return the `Contents` of an artifact, if it is made as it should be.

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
    _check_size(path, prepared)
    return contents


def _check_size(path, prepared):
    """Raise ArtifactError if weights are missing in an artifact, or stand there twice."""
    found, a_weight = inspection.size(path), QUANTIZATIONS[prepared.options.quantize].weight_bytes
    weights = [value.shape for value in prepared.model.weights]
    # Vectors may have been folded into others; int8 keeps biases in 32 bits, and a scale a channel
    least = 0.9 * a_weight * sum(int(np.prod(shape)) for shape in weights if len(shape) > 1)
    # Operators that a runtime does not quantize keep float32
    most = 1.1 * 4 * sum(int(np.prod(shape)) for shape in weights) + 1_000_000 + 4_000 * len(weights)
    if prepared.options.preprocess:
        most += sum(array.nbytes for array in prepared.preprocessing.arrays().values())
    if not least <= found <= most:
        raise ArtifactError(
            f"it has {found:,} bytes, and its weights take {int(least / 0.9):,}: "
            + ("some are missing" if found < least else "some stand there more than once")
        )
