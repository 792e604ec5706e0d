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
    ENOUGH_PICTURES,
    ENOUGH_SIGNAL,
    FORMATS,
    INPUT,
    KEPT_ACCURACY,
    LOGITS,
    LOST_TO_FUSION,
    OUTPUT,
    PROBABILITIES,
    QUANTIZATIONS,
    TOLERANCE,
)
from keras_cnns.export.runtimes import RuntimeProcess

ORDINARY_LOGIT = 20.0  # that trained networks reach; it is a probability of 2e-9 against one
FILES = 3  # images that logits and `serve_image_bytes` are tried with


@dataclasses.dataclass(frozen=True)
class Parity:
    """An artifact's main output beside its model's.

    Attributes:
        max_difference: the largest absolute difference of any output.
        bound: what it may be; None for an artifact of low precision, which is held to the agreement.
        max_logit_difference: the same of the logits, up to a constant each picture: for a classifier told by
            the logarithms of probabilities above 1e-6; small networks' probabilities alone say little.
        logit_bound: what that may be, None as `bound`.
        signal_to_noise: of these logits, in decibels, or of outputs that tell no classes apart; None if they are equal.
        needed_signal_to_noise: what that must be at least, None where classes are told apart by several values.
        examples: pictures compared.
        disagreements: pictures with another top-1 although the model's own top two lie further apart than
            twice the tolerance.
        allowed: how many these may be.
        top5_agreement: share of pictures whose class by the model is among the artifact's five best.
        accuracy: share of pictures rightly classified by the artifact, None without labels.
        needed_accuracy: what that must be at least, None without labels.
        classes: how many different classes the model gives the pictures; an agreement on one class says little;
            0 where outputs tell no classes.
        unfused: of an ONNX file, the same for at most `ENOUGH_PICTURES` of them without optimizations of the graph;
            None elsewhere.
    """

    max_difference: float
    bound: float | None
    max_logit_difference: float
    logit_bound: float | None
    signal_to_noise: float | None
    needed_signal_to_noise: float | None
    examples: int
    disagreements: int
    allowed: int
    top5_agreement: float
    accuracy: float | None
    needed_accuracy: float | None
    classes: int = 0
    unfused: "Parity | None" = None

    @property
    def agreement(self):
        """Share of pictures with the model's top-1, or where the model itself hardly decides."""
        return 1 - self.disagreements / self.examples

    @property
    def agreement_interval(self) -> tuple[float, float]:
        """Exact 95 % confidence interval (Clopper and Pearson, 1934) of the agreement on all images like these."""
        from scipy.stats import binomtest

        interval = binomtest(self.examples - self.disagreements, self.examples).proportion_ci(0.95, method="exact")
        return float(interval.low), float(interval.high)

    @property
    def fault(self):
        """What is over its bound, in words; "" if the artifact passes."""
        if self.bound is not None and not self.max_difference <= self.bound:
            return f"outputs differ by {self.max_difference:.3g}, more than {self.bound:.3g}"
        if self.logit_bound is not None and not self.max_logit_difference <= self.logit_bound:
            return f"logits differ by {self.max_logit_difference:.3g}, more than {self.logit_bound:.3g}"
        needed, found = self.needed_signal_to_noise, self.signal_to_noise
        if needed is not None and found is not None and not found >= needed:
            return f"outputs have a signal-to-noise ratio of {found:.1f} dB, less than {needed:g}"
        if self.disagreements > self.allowed:
            return (
                f"{self.disagreements} of {self.examples} pictures get another class, and {self.allowed or 'none'} may"
            )
        if self.accuracy is not None and self.accuracy < self.needed_accuracy:
            return f"its accuracy is {self.accuracy:.2%}, less than {self.needed_accuracy:.2%}"
        return ""

    def to_json(self):
        """Return a dictionary of JSON values."""
        own = {"agreement": self.agreement, "agreement_interval": list(self.agreement_interval)}
        return {**dataclasses.asdict(self), **own, "unfused": self.unfused and self.unfused.to_json()}


def by_class(outputs, name):
    """Return outputs (pictures, values) with a column for each class; see `_models.by_class`.

    Args:
        outputs: float array.
        name: of the output: what one value is, the probability or the logit of the second of two classes.
    """
    if outputs.shape[1] == 1 and name == LOGITS:
        return np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    return outputs if name == OUTPUT else _models.by_class(outputs)


def compare(reference, outputs, name, labels=None, *, quantize="none", tolerance=None, min_agreement=None, largest=0.0):
    """Return the `Parity` of an artifact's outputs (pictures, classes) with the model's.

    Args:
        reference, outputs: float32 arrays. One value of a classifier is that of the second of two classes.
        name: of the output, which says what it is: probabilities, logits or another.
        labels: whole numbers (pictures,), or None.
        quantize, tolerance, min_agreement: as in `Options`.
        largest: absolute logit of the model, where `reference` does not show it.

    Raises:
        ArtifactError: if the shapes differ or a value is not finite.
    """
    if outputs.shape != reference.shape or outputs.dtype != np.float32:
        raise ArtifactError(f"it gives {outputs.dtype} {outputs.shape} and not float32 {reference.shape}")
    if not np.isfinite(outputs).all():
        raise ArtifactError("it gives values that are not finite")
    tolerance = TOLERANCE if tolerance is None else float(tolerance)
    least = QUANTIZATIONS[quantize].agreement if min_agreement is None else min_agreement
    tells_classes = name != OUTPUT
    by_value = tells_classes and reference.shape[1] > 1  # one value a picture says as much as another output
    if softened := name == PROBABILITIES:
        seen = (reference > 1e-6) & (outputs > 1e-6)
        ours, theirs = (np.log(np.where(seen, values, 1.0), dtype="float64") for values in (reference, outputs))
    else:
        ours, theirs = reference.astype("float64"), outputs.astype("float64")
    # Rounding is relative to the logits: of a network whose logits are far apart, probabilities feel it too
    size = max(1.0, float(np.abs(reference).max()), largest / ORDINARY_LOGIT if softened else 0.0)
    bound = tolerance * size
    logit_bound = tolerance * max(1.0, float(np.abs(ours).max()), largest)
    # Of classes the differences within a picture say something, of other outputs those from picture to picture
    noise = float(np.square(ours - theirs).sum())
    signal = float(np.square(ours - ours.mean(axis=int(by_value), keepdims=True)).sum())
    ratio = None if not noise else float(10 * np.log10(max(signal, 1e-30) / noise))
    classes, own_classes = by_class(outputs, name), by_class(reference, name)
    ordered = np.sort(own_classes, axis=1)
    margin = ordered[:, -1] - ordered[:, -2] if own_classes.shape[1] > 1 else np.zeros(len(reference))
    best, own = classes.argmax(1), own_classes.argmax(1)
    # The numbers that the last bits decide are no proof of anything
    decided = margin > 2 * size * (tolerance if quantize == "none" else TOLERANCE)
    disagreements = int(((best != own) & decided).sum())
    examples, exact = len(reference), quantize == "none"
    few = examples < ENOUGH_PICTURES and not exact and min_agreement is None
    if not tells_classes:  # nothing that a label could be compared with
        labels = None
    accuracy, own_accuracy = (None if labels is None else float(np.mean(one == labels)) for one in (best, own))
    return Parity(
        max_difference=float(np.abs(reference - outputs).max()),
        bound=bound if exact else None,
        max_logit_difference=float(np.abs(ours - theirs).max()),
        logit_bound=logit_bound if exact else None,
        signal_to_noise=ratio,
        needed_signal_to_noise=None if by_value else QUANTIZATIONS[quantize].signal_to_noise,
        examples=examples,
        disagreements=disagreements,
        allowed=max(int(few), int(np.floor((1 - least) * examples + 1e-9))),
        top5_agreement=float(np.mean((np.argsort(-classes, axis=1)[:, :5] == own[:, None]).any(1))),
        accuracy=accuracy,
        # One picture is no loss where there are few
        needed_accuracy=None if labels is None else min(KEPT_ACCURACY * own_accuracy, own_accuracy - few / examples),
        classes=len(np.unique(own)) if tells_classes else 0,
    )


def check_provable(expected: np.ndarray, tolerance: float | None = None) -> None:
    """Raise ArtifactError if the model's outputs are the same for all images: a constant would pass for the model.

    Args:
        expected: the model's main output, float32 (images, classes).
        tolerance: as in `Options`.
    """
    size = max(1.0, float(np.abs(expected).max()))
    spread = float(np.ptp(expected, axis=0).max())
    if len(expected) > 1 and spread <= (TOLERANCE if tolerance is None else tolerance) * size:
        raise ArtifactError(
            f"the model gives the same output for all {len(expected)} images (they differ by {spread:.1g} at most), so "
            "nothing is proven"
        )


def check_fusion(fused: Parity, unfused: Parity) -> None:
    """Raise ArtifactError if ONNX Runtime's fused kernels lose what the file itself holds.

    Int8 kernels for AVX2 and AVX-512 without VNNI add two products in 16 bits, which saturate for weights of 8 bits.
    """
    if fused.bound is not None or fused.signal_to_noise is None:
        return
    alone = ENOUGH_SIGNAL + LOST_TO_FUSION if unfused.signal_to_noise is None else unfused.signal_to_noise
    if fused.signal_to_noise < min(ENOUGH_SIGNAL, alone - LOST_TO_FUSION):
        raise ArtifactError(
            f"with fused kernels its outputs have a signal-to-noise ratio of {fused.signal_to_noise:.1f} dB, without "
            f"them of {alone:.1f}: this processor's int8 kernels saturate; export for it with --target avx2"
        )


def check(path, format, prepared, pictures, expected, largest):
    """Run an artifact in a process of its own and compare it with the model.

    Args:
        path: of the artifact.
        format: a name of `FORMATS`.
        prepared: `Prepared`.
        pictures: `Pictures`.
        expected, largest: the model's outputs for them and their largest logits, as `Prepared.expected` gives them.

    Returns:
        (`Parity` of the main output, description of the inputs, of the outputs).

    Raises:
        ArtifactError: saying in what the artifact differs from the model.
        ModuleNotFoundError: if the runtime is not installed.
    """
    options = prepared.options
    _check_logits(prepared, pictures, expected)
    with RuntimeProcess(path, format) as process:
        found = process.ask(do="describe")
        _check_description(found, prepared)
        outputs = process.run(prepared.given(pictures.images))
        if format == "saved_model" and options.preprocess:
            _check_files(process, prepared, pictures.images[:FILES])
    parities = _parities(prepared, pictures, expected, outputs, largest)
    if format != "onnx":
        _refuse_faults(parities, prepared)
        return parities[0], found["inputs"], found["outputs"]
    few = pictures.images[:ENOUGH_PICTURES]
    with RuntimeProcess(path, "onnx-unfused") as process:
        unfused = _parities(prepared, pictures, expected, process.run(prepared.given(few)), largest)
    same = {name: values[: len(few)] for name, values in outputs.items()}
    # First, as it names the cure
    check_fusion(_parities(prepared, pictures, expected, same, largest)[0], unfused[0])
    _refuse_faults(parities, prepared)
    _refuse_faults(unfused, prepared, " without fused kernels")
    return dataclasses.replace(parities[0], unfused=unfused[0]), found["inputs"], found["outputs"]


def _parities(prepared, pictures, expected, outputs, largest):
    """Return the `Parity` of each output, the main one first, for as many of the pictures as there are outputs."""
    options, parities = prepared.options, []
    for k, name in enumerate(prepared.outputs):
        count = len(outputs[name])
        labels = pictures.labels if k == 0 and prepared.is_classifier else None
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


def _check_logits(prepared, pictures, expected):
    """Raise an error if the logits that were taken out of a model are not those of its probabilities."""
    if prepared.outputs[0] != LOGITS or not _models.gives_probabilities(prepared.whole):
        return
    few = pictures.images[:FILES]
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
    from keras_cnns.data.pictures import read_picture
    from keras_cnns.data.pipeline import prepare

    files, record = _image_files(images), prepared.preprocessing
    main = prepared.outputs[0]
    pixels = [prepare(read_picture(io.BytesIO(content), record.channels), record) for content in files.values()]
    expected, largest = prepared.expected(np.stack(pixels))
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
