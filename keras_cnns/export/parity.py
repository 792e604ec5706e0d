"""How far an artifact's outputs are from its model's, and how far they may be."""

import dataclasses

import numpy as np

from keras_cnns import _models
from keras_cnns.errors import ArtifactError
from keras_cnns.export.formats import (
    ENOUGH_IMAGES,
    ENOUGH_SIGNAL,
    KEPT_ACCURACY,
    LOGITS,
    LOST_TO_FUSION,
    OUTPUT,
    PROBABILITIES,
    QUANTIZATIONS,
    TOLERANCE,
)

ORDINARY_LOGIT = 20.0  # that trained networks reach; it is a probability of 2e-9 against one


@dataclasses.dataclass(frozen=True)
class Parity:
    """An artifact's main output beside its model's.

    Attributes:
        max_difference: the largest absolute difference of any output.
        bound: what it may be; None for an artifact of low precision, which is held to the agreement.
        max_logit_difference: the same of the logits, up to a constant each image: for a classifier told by
            the logarithms of probabilities above 1e-6; small networks' probabilities alone say little.
        logit_bound: what that may be, None as `bound`.
        signal_to_noise: of these logits, in decibels, or of outputs that tell no classes apart; None if they are equal.
        needed_signal_to_noise: what that must be at least, None where classes are told apart by several values.
        examples: images compared.
        disagreements: images with another top-1 although the model's own top two lie further apart than
            twice the tolerance.
        allowed: how many these may be.
        top5_agreement: share of images whose class by the model is among the artifact's five best.
        accuracy: share of images rightly classified by the artifact, None without labels.
        needed_accuracy: what that must be at least, None without labels.
        classes: how many different classes the model gives the images; an agreement on one class says little;
            0 where outputs tell no classes.
        unfused: of an ONNX file, the same for at most `ENOUGH_IMAGES` of them without optimizations of the graph;
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
        """Share of images with the model's top-1, or where the model itself hardly decides."""
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
            return f"{self.disagreements} of {self.examples} images get another class, and {self.allowed or 'none'} may"
        if self.accuracy is not None and self.accuracy < self.needed_accuracy:
            return f"its accuracy is {self.accuracy:.2%}, less than {self.needed_accuracy:.2%}"
        return ""

    def to_json(self):
        """Return a dictionary of JSON values."""
        own = {"agreement": self.agreement, "agreement_interval": list(self.agreement_interval)}
        return {**dataclasses.asdict(self), **own, "unfused": self.unfused and self.unfused.to_json()}


def by_class(outputs, name):
    """Return outputs (images, values) with a column for each class; see `_models.by_class`.

    Args:
        outputs: float array.
        name: of the output: what one value is, the probability or the logit of the second of two classes.
    """
    if outputs.shape[1] == 1 and name == LOGITS:
        return np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    return outputs if name == OUTPUT else _models.by_class(outputs)


def compare(reference, outputs, name, labels=None, *, quantize="none", tolerance=None, min_agreement=None, largest=0.0):
    """Return the `Parity` of an artifact's outputs (images, classes) with the model's.

    Args:
        reference, outputs: float32 arrays. One value of a classifier is that of the second of two classes.
        name: of the output, which says what it is: probabilities, logits or another.
        labels: whole numbers (images,), or None.
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
    by_value = tells_classes and reference.shape[1] > 1  # one value an image says as much as another output
    if softened := name == PROBABILITIES:
        seen = (reference > 1e-6) & (outputs > 1e-6)
        ours, theirs = (np.log(np.where(seen, values, 1.0), dtype="float64") for values in (reference, outputs))
    else:
        ours, theirs = reference.astype("float64"), outputs.astype("float64")
    # Rounding is relative to the logits: of a network whose logits are far apart, probabilities feel it too
    size = max(1.0, float(np.abs(reference).max()), largest / ORDINARY_LOGIT if softened else 0.0)
    bound = tolerance * size
    logit_bound = tolerance * max(1.0, float(np.abs(ours).max()), largest)
    # Of classes the differences within an image say something, of other outputs those from image to image
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
    few = examples < ENOUGH_IMAGES and not exact and min_agreement is None
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
        # One image is no loss where there are few
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
