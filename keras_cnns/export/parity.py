"""Compare an artifact's outputs with its model's, and bound the difference."""

import dataclasses
from typing import Any

import numpy as np

from keras_cnns.data.masks import IGNORE
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
from keras_cnns.tasks import classifiers

ORDINARY_LOGIT = 20.0  # trained networks reach it; against a logit of 0 it is a probability of 2e-9


@dataclasses.dataclass(frozen=True)
class Reference:
    """One output of the model, which an artifact's output is compared with.

    Attributes:
        values: float32 (images, values), or (images, height, width, values). A single value of a classifier is that of
            the second of two classes.
        kind: what the values are: `PROBABILITIES`, `LOGITS` or `OUTPUT`.
        labels: class numbers (images,), or (images, height, width) with 255 for unknown ones; None if all are unknown.
        largest_logit: largest absolute logit of the model, which probabilities do not show. Rounding grows with it.
    """

    values: np.ndarray
    kind: str
    labels: np.ndarray | None = None
    largest_logit: float = 0.0

    @property
    def has_classes(self) -> bool:
        """Whether the values are scores of classes."""
        return self.kind != OUTPUT

    @property
    def has_several_scores(self) -> bool:
        """Whether the values are scores of classes, one per class."""
        return self.has_classes and self.values.shape[-1] > 1

    @property
    def scale(self) -> float:
        """What a relative tolerance is multiplied with, at least one.

        Rounding is relative to the logits. If these lie far apart, it shows in the probabilities too.
        """
        from_logits = self.largest_logit / ORDINARY_LOGIT if self.kind == PROBABILITIES else 0.0
        return max(1.0, float(np.abs(self.values).max()), from_logits)

    def by_pixel(self) -> "Reference":
        """Return the same with each pixel as an image."""
        labels = None if self.labels is None else self.labels.reshape(-1)
        return dataclasses.replace(self, values=_by_pixel(self.values), labels=labels)

    def first(self, count: int) -> "Reference":
        """Return the same for the first `count` images."""
        labels = None if self.labels is None else self.labels[:count]
        return dataclasses.replace(self, values=self.values[:count], labels=labels)


@dataclasses.dataclass(frozen=True)
class Bounds:
    """How far an artifact may be from its model.

    Attributes:
        quantize: a name of `QUANTIZATIONS`, which sets agreement and signal-to-noise ratio.
        tolerance: as in `Options`; None: `TOLERANCE`.
        min_agreement: as in `Options`; None: that of the quantization.
    """

    quantize: str = "none"
    tolerance: float | None = None
    min_agreement: float | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the values themselves are bounded, and not only the classes."""
        return self.quantize == "none"

    @property
    def relative_tolerance(self) -> float:
        """The tolerance to use."""
        return TOLERANCE if self.tolerance is None else float(self.tolerance)

    @property
    def least_agreement(self) -> float:
        """The smallest share of images that must get the model's class."""
        return QUANTIZATIONS[self.quantize].agreement if self.min_agreement is None else self.min_agreement

    def spare_images(self, examples: int) -> int:
        """Return how many of few images may always differ.

        It is one, unless values are bounded or an agreement was asked for.
        """
        return int(examples < ENOUGH_IMAGES and not self.is_exact and self.min_agreement is None)


@dataclasses.dataclass(frozen=True)
class Parity:
    """The comparison of an artifact's main output with its model's.

    Attributes:
        max_difference: largest absolute difference of any value.
        bound: what that may be; None for a quantized artifact, whose classes are compared instead.
        max_logit_difference: largest absolute difference of the logits. For probabilities it is that of their
            logarithms where both are above 1e-6, because a small network's probabilities alone say little.
        logit_bound: what that may be; None as `bound`.
        signal_to_noise: ratio in decibels of the logits, or of outputs that are not class scores; None if equal.
        needed_signal_to_noise: what that must be at least; None for scores of several classes.
        examples: number of images compared.
        disagreements: number of images with another top-1 class, although the model's own top two lie further apart
            than twice the tolerance.
        allowed: what that may be.
        top5_agreement: share of images whose class by the model is among the artifact's five best.
        accuracy: share of images that the artifact classifies correctly; None without labels.
        needed_accuracy: what that must be at least; None without labels.
        classes: number of different classes that the model gives the images; 0 if outputs are not class scores.
            An agreement on a single class proves little.
        unfused: for an ONNX file, the comparison on at most `ENOUGH_IMAGES` images without optimizations of the graph;
            None for other formats.
        unit: what is counted: "images", or "pixels" where each has scores of its own.
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
    unit: str = "images"

    @property
    def agreement(self) -> float:
        """Share of images with the model's top-1 class, or a near-tie."""
        return 1 - self.disagreements / self.examples

    @property
    def agreement_interval(self) -> tuple[float, float]:
        """Exact 95 % confidence interval of the agreement on all such images.

        Source: Clopper and Pearson, 1934.
        """
        from scipy.stats import binomtest

        interval = binomtest(self.examples - self.disagreements, self.examples).proportion_ci(0.95, method="exact")
        return float(interval.low), float(interval.high)

    @property
    def fault(self) -> str:
        """The first exceeded bound in words; "" if the artifact passes."""
        # "not <=" and not ">", because a comparison with NaN is false
        if self.bound is not None and not self.max_difference <= self.bound:
            return f"outputs differ by {self.max_difference:.3g}, more than {self.bound:.3g}"
        if self.logit_bound is not None and not self.max_logit_difference <= self.logit_bound:
            return f"logits differ by {self.max_logit_difference:.3g}, more than {self.logit_bound:.3g}"
        needed, ratio = self.needed_signal_to_noise, self.signal_to_noise
        if needed is not None and ratio is not None and not ratio >= needed:
            return f"outputs have a signal-to-noise ratio of {ratio:.1f} dB, less than {needed:g}"
        if self.disagreements > self.allowed:
            several = f"{self.disagreements} of {self.examples} {self.unit}"
            return f"{several} get another class, and {self.allowed or 'none'} may"
        if self.accuracy is not None and self.needed_accuracy is not None and self.accuracy < self.needed_accuracy:
            return f"its accuracy is {self.accuracy:.2%}, less than {self.needed_accuracy:.2%}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        derived = {"agreement": self.agreement, "agreement_interval": list(self.agreement_interval)}
        return {**dataclasses.asdict(self), **derived, "unfused": self.unfused and self.unfused.to_json()}


def by_class(outputs: np.ndarray, kind: str) -> np.ndarray:
    """Return outputs (images, values) with one column per class; see `classifiers.by_class`.

    Args:
        outputs: float array.
        kind: what a single value is: `PROBABILITIES` or `LOGITS` of the second of two classes, or `OUTPUT`.
    """
    if outputs.shape[-1] == 1 and kind == LOGITS:
        return np.concatenate([np.zeros_like(outputs), outputs], axis=-1)
    return outputs if kind == OUTPUT else classifiers.by_class(outputs)


def compare(reference: Reference, outputs: np.ndarray, bounds: Bounds | None = None) -> Parity:
    """Return the `Parity` of an artifact's output with its model's.

    Args:
        reference: the model's output.
        outputs: the artifact's output for the same images.
        bounds: `Bounds` of the result; None: those of float32.

    Raises:
        ArtifactError: if the shapes differ or a value is NaN or infinite.
    """
    bounds = bounds or Bounds()
    _check_outputs(reference.values, outputs)
    unit = "images"
    if outputs.ndim == 4 and reference.has_classes:
        reference, outputs, unit = reference.by_pixel(), _by_pixel(outputs), "pixels"
    expected_logits, logits = _logits(reference, outputs)
    ranking = _compare_ranking(reference, outputs, bounds)
    examples, several = len(outputs), reference.has_several_scores
    spare = bounds.spare_images(examples)
    tolerance = bounds.relative_tolerance
    logit_scale = max(1.0, float(np.abs(expected_logits).max()), reference.largest_logit)
    kept = ranking.reference_accuracy
    return Parity(
        max_difference=float(np.abs(reference.values - outputs).max()),
        bound=tolerance * reference.scale if bounds.is_exact else None,
        max_logit_difference=float(np.abs(expected_logits - logits).max()),
        logit_bound=tolerance * logit_scale if bounds.is_exact else None,
        signal_to_noise=_signal_to_noise(expected_logits, logits, within_images=several),
        needed_signal_to_noise=None if several else QUANTIZATIONS[bounds.quantize].signal_to_noise,
        examples=examples,
        disagreements=ranking.disagreements,
        # The small number keeps an exact product, such as 0.03 * 1000, from being rounded down to 29
        allowed=max(spare, int(np.floor((1 - bounds.least_agreement) * examples + 1e-9))),
        top5_agreement=ranking.top5_agreement,
        accuracy=ranking.accuracy,
        needed_accuracy=None if kept is None else min(KEPT_ACCURACY * kept, kept - spare / examples),
        classes=ranking.classes,
        unit=unit,
    )


def _by_pixel(maps):
    """Return maps (images, height, width, values) as (pixels, values)."""
    return maps.reshape(-1, maps.shape[-1])


def _check_outputs(expected, outputs):
    if outputs.shape != expected.shape or outputs.dtype != np.float32:
        raise ArtifactError(f"it gives {outputs.dtype} {outputs.shape} and not float32 {expected.shape}")
    if not np.isfinite(outputs).all():
        raise ArtifactError("it gives values that are NaN or infinite")


def _logits(reference, outputs):
    """Return the model's and the artifact's logits as float64.

    They are correct up to a constant per image.
    """
    if reference.kind != PROBABILITIES:
        return reference.values.astype("float64"), outputs.astype("float64")
    seen = (reference.values > 1e-6) & (outputs > 1e-6)
    expected, found = (np.log(np.where(seen, values, 1.0), dtype="float64") for values in (reference.values, outputs))
    return expected, found


def _signal_to_noise(expected, found, within_images):
    """Return the ratio in decibels; None if there is no noise.

    For class scores the signal is the differences within an image; for other outputs, those between images.
    """
    noise = float(np.square(expected - found).sum())
    signal = float(np.square(expected - expected.mean(axis=int(within_images), keepdims=True)).sum())
    return float(10 * np.log10(max(signal, 1e-30) / noise)) if noise else None


@dataclasses.dataclass(frozen=True)
class _Ranking:
    """How far an artifact ranks the classes as its model does.

    The fields are those of `Parity`.
    """

    disagreements: int
    top5_agreement: float
    accuracy: float | None
    reference_accuracy: float | None
    classes: int


def _compare_ranking(reference, outputs, bounds):
    """Return the `_Ranking` of an artifact's outputs."""
    scores, expected = by_class(outputs, reference.kind), by_class(reference.values, reference.kind)
    best, expected_best = scores.argmax(1), expected.argmax(1)
    ordered = np.sort(expected, axis=1)
    margin = ordered[:, -1] - ordered[:, -2] if expected.shape[1] > 1 else np.zeros(len(expected))
    # Near-ties are ignored, because rounding alone can flip them
    is_clear = margin > 2 * reference.scale * (bounds.relative_tolerance if bounds.is_exact else TOLERANCE)
    in_top5 = (np.argsort(-scores, axis=1)[:, :5] == expected_best[:, None]).any(1)
    labels = reference.labels if reference.has_classes else None  # other outputs cannot be compared with labels
    is_known = slice(None) if labels is None else labels != IGNORE
    return _Ranking(
        disagreements=int(((best != expected_best) & is_clear).sum()),
        top5_agreement=float(np.mean(in_top5)),
        accuracy=None if labels is None else float(np.mean((best == labels)[is_known])),
        reference_accuracy=None if labels is None else float(np.mean((expected_best == labels)[is_known])),
        classes=len(np.unique(expected_best)) if reference.has_classes else 0,
    )


def check_fusion(fused: Parity, unfused: Parity) -> None:
    """Raise ArtifactError if fused kernels lose what the file holds.

    Int8 kernels for AVX2, and for AVX-512 without VNNI, add two products in 16 bits, which saturate with weights of 8
    bits.

    Args:
        fused: the comparison with optimizations of the graph.
        unfused: the comparison without them.
    """
    if fused.bound is not None or fused.signal_to_noise is None:
        return
    alone = ENOUGH_SIGNAL + LOST_TO_FUSION if unfused.signal_to_noise is None else unfused.signal_to_noise
    if fused.signal_to_noise < min(ENOUGH_SIGNAL, alone - LOST_TO_FUSION):
        raise ArtifactError(
            f"with fused kernels its outputs have a signal-to-noise ratio of {fused.signal_to_noise:.1f} dB, without "
            f"them of {alone:.1f}: this processor's int8 kernels saturate; export for it with --target avx2"
        )
