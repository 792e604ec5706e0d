"""Everything that decides a training but the images: one frozen record. Standard library only."""

import dataclasses
import math
import types
from collections.abc import Mapping

from keras_cnns.errors import ArgumentError, nearest

OPTIMIZERS = ("sgd", "adamw", "rmsprop")
SCHEDULES = ("constant", "step", "plateau", "polynomial", "exponential", "inverse", "cosine")
WARMED_UP = ("constant", "step", "cosine")
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
PROTOCOLS = ("center", "ten-crop", "144-crop", "dense")
BALANCES = ("none", "weights", "repeat")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run, except the images.

    Attributes:
        name: as `cnn-train --recipe` takes it.
        builder: the public name of the network it was made for, or several; None: any network.
        network: keyword arguments of the builder: dropout, initialization, heads.
        biases: layer name to the value that its biases start from, where it is not the builder's.
        optimizer: "sgd" (with `momentum`), "adamw" or "rmsprop" (with `momentum`, `rho`, `epsilon`).
        learning_rate: its highest value.
        momentum: of "sgd" and "rmsprop".
        rho: how much "rmsprop" keeps of the mean square, each step.
        epsilon: that "rmsprop" adds to the mean square.
        weight_decay: with "sgd" the papers' L2 coefficient, whose gradient passes through the momentum; else decoupled.
            Biases are not decayed.
        clip_norm: largest norm of all gradients together; None: any.
        moving_average: share of their mean that weights keep each step, the mean being what is saved; None: none.
        accumulation: batches whose gradients are averaged before the weights move, for a batch size that memory does
            not hold at once. The schedule and the moving average go by batches.
        rates: pattern of layer names, as "conv*", to the factor of the learning rate there; the first one that fits
            counts. Gradients are then clipped by the norm of each such part.
        freeze: names of layers, or patterns as "conv*", that keep their weights, and as batch normalization their
            statistics.
        schedule: "constant"; "step" (times `decay_factor` at `decay_at`); "plateau" (times `decay_factor` when the
            validation loss has not fallen for `patience` epochs); "polynomial" (to zero, (1 - share) ** `power`);
            "exponential" (times `decay_factor` every `decay_epochs`); "inverse" (Caffe's "inv": (1 + `gamma` * step) **
            -`power`); "cosine" (to zero).
        decay_at: shares of the training after which the rate changes.
        decay_factor: see `schedule`; of "step" also one for each of `decay_at`, relative to `learning_rate`.
        decay_epochs, power, gamma, patience: see `schedule`.
        warmup_steps: steps over which the rate rises from zero; with the schedules of `WARMED_UP`.
        batch_size: images a step.
        epochs: passes over the training split.
        preprocessing: a name of `keras_cnns.data.PREPROCESSINGS`.
        augmentation: a name of `keras_cnns.data.augment.AUGMENTATIONS`.
        color_noise: deviation of the noise along the principal components of color (AlexNet's), 0: none.
        mixup, cutmix: alpha of the mixing of images, 0: none.
        rand_augment, erasing: strength of Keras's layers of these names, 0 to 1, 0: none.
        label_smoothing: share of each label that is spread over all classes.
        balance: for classes of unequal size: "none", "weights" (in the loss) or "repeat" (scarce images).
        early_stopping: epochs without a lower validation loss after which the training ends; None: never.
        auxiliary_weight: of the loss of each auxiliary head.
        protocol: how the paper measured, a name of `PROTOCOLS`, for `cnn-evaluate --protocol recipe`.
        precision: "auto", "float32", "mixed_bfloat16" or "mixed_float16".
    """

    name: str
    builder: str | tuple[str, ...] | None = None
    network: Mapping = dataclasses.field(default_factory=dict)
    biases: Mapping = dataclasses.field(default_factory=dict)
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    rho: float = 0.9
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    clip_norm: float | None = None
    moving_average: float | None = None
    accumulation: int = 1
    rates: Mapping = dataclasses.field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    schedule: str = "cosine"
    decay_at: tuple[float, ...] = ()
    decay_factor: float | tuple[float, ...] = 0.1
    decay_epochs: float = 1.0
    power: float = 1.0
    gamma: float = 0.0
    patience: int = 5
    warmup_steps: int = 0
    batch_size: int = 128
    epochs: int = 20
    preprocessing: str = "standardize"
    augmentation: str = "none"
    color_noise: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    rand_augment: float = 0.0
    erasing: float = 0.0
    label_smoothing: float = 0.0
    balance: str = "none"
    early_stopping: int | None = None
    auxiliary_weight: float = 0.0
    protocol: str = "center"
    precision: str = "auto"

    def __post_init__(self):
        for field in ("network", "biases", "rates"):
            object.__setattr__(self, field, types.MappingProxyType(dict(getattr(self, field))))
        for field in ("decay_at", "builder", "decay_factor", "freeze"):
            if isinstance(getattr(self, field), list | tuple):
                object.__setattr__(self, field, tuple(getattr(self, field)))
        for field, allowed in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
            ("protocol", PROTOCOLS),
            ("balance", BALANCES),
        ):
            value = getattr(self, field)
            if value not in allowed:
                raise ArgumentError(
                    f"`{field}` must be one of {', '.join(allowed)}.{nearest(value, allowed)} "
                    f"Received: {field}={value!r}"
                )
        if isinstance(self.freeze, str):
            raise ArgumentError(
                f"`freeze` must be a list of layers' names or patterns. Received: freeze={self.freeze!r}"
            )
        if not 0 <= self.learning_rate < math.inf:
            raise ArgumentError(
                f"`learning_rate` must be a number from 0. Received: learning_rate={self.learning_rate}"
            )
        for field in ("momentum", "rho", "label_smoothing"):
            if not 0 <= getattr(self, field) < 1:
                value = getattr(self, field)
                raise ArgumentError(f"`{field}` must be at least 0 and below 1. Received: {field}={value}")
        for field in ("batch_size", "epochs", "accumulation", "early_stopping"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ArgumentError(f"`{field}` must be at least 1. Received: {field}={value}")
        if isinstance(self.decay_factor, tuple) and len(self.decay_factor) != len(self.decay_at):
            raise ArgumentError(
                f"`decay_factor` must be one number, or one for each of `decay_at`. "
                f"Received: decay_factor={self.decay_factor}, decay_at={self.decay_at}"
            )
        if isinstance(self.decay_factor, tuple) and self.schedule != "step":
            raise ArgumentError(
                f"`decay_factor` must be one number, but with schedule='step'. Received: "
                f"decay_factor={self.decay_factor}, schedule={self.schedule!r}"
            )
        if self.rates and self.moving_average is not None:
            raise ArgumentError(
                "a moving average is kept of all weights at one rate; leave out `rates` or `moving_average`. "
                f"Received: rates={dict(self.rates)}, moving_average={self.moving_average}"
            )
        if self.warmup_steps and self.schedule not in WARMED_UP:
            kind = "that waits for plateaus" if self.schedule == "plateau" else f"of schedule={self.schedule!r}"
            raise ArgumentError(
                f"a rate {kind} cannot be warmed up to; leave out `warmup_steps`, or choose one of "
                f"{', '.join(WARMED_UP)}. Received: warmup_steps={self.warmup_steps}"
            )

    def suits(self, builder):
        """Return whether it was made for the network of a public name, or for any."""
        return self.builder is None or builder in self.builders

    @property
    def soft_labels(self):
        """Whether labels are shares of classes, one-hot or mixed, and not numbers."""
        return bool(self.label_smoothing or self.mixup or self.cutmix)

    @property
    def builders(self):
        """The public names it was made for; () for any."""
        return (self.builder,) if isinstance(self.builder, str) else self.builder or ()

    def replace(self, **changes):
        """Return a copy with other values in some fields."""
        return dataclasses.replace(self, **changes)

    def to_json(self):
        """Return a dictionary of JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if not self.freeze:  # as in files and checkpoints from before there was this field
            del values["freeze"]
        lists = {name: list(value) for name, value in values.items() if isinstance(value, tuple)}
        return {**values, **lists, **{name: dict(values[name]) for name in ("network", "biases", "rates")}}

    @classmethod
    def from_json(cls, values):
        """Return the recipe that `to_json` described."""
        return cls(**values)


def gaussian(deviation):
    """Return the description of an initializer that draws from a normal distribution about 0."""
    return {"class_name": "RandomNormal", "config": {"stddev": deviation}}


def uniform(bound):
    """Return the description of an initializer that draws evenly from -bound to bound."""
    return {"class_name": "RandomUniform", "config": {"minval": -bound, "maxval": bound}}
