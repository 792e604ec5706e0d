"""Building the network of a training run."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_cnns import _models
from keras_cnns.training.compilation import compile_model, set_biases
from keras_cnns.training.job import Job
from keras_cnns.training.precision import policy_for
from keras_cnns.training.transfer import freeze


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that is ready to train.

    Attributes:
        model: the network that trains, compiled.
        twin: the same network outside the distribution, which is saved and measured; on one device it is `model`.
        arguments: the builder's keyword arguments, with the input shape.
        policy: name of its dtype policy.
    """

    model: keras.Model
    twin: keras.Model
    arguments: Mapping[str, Any]
    policy: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its input, in pixels."""
        height, width, _ = self.arguments["input_shape"]
        return height, width

    @property
    def channels(self) -> int:
        """Channels of its input."""
        return self.arguments["input_shape"][-1]


def build_network(job: Job, steps: int) -> Network:
    """Build and compile the network of a job.

    Args:
        job: what is asked for.
        steps: batches per epoch.

    Raises:
        ArgumentError: if the network cannot be built with these options, or does not fit the recipe.
    """
    policy, recipe, weights = policy_for(job.recipe.precision), job.recipe, job.weights
    arguments = {**(weights.network if weights else {}), "classes": len(job.source.class_names), **recipe.network}
    if shape := _input_shape(job):
        arguments["input_shape"] = shape
    build = functools.partial(_with_weights, job.build, weights, job.source.class_names) if weights else job.build
    if recipe.freeze and not weights:
        warnings.warn(
            f"the layers frozen by {', '.join(recipe.freeze)} keep random weights: start from trained ones, as "
            "NAME:WEIGHTS or a .keras file (in code: weights=...)",
            stacklevel=6,  # The caller of `train`
        )
    # Built first: within the distribution's scope the weights would lie on its devices
    twin = None if job.distribution.engine is None else _build(build, arguments, policy, job)
    with job.distribution.scope():
        model = _build(build, arguments, policy, job)
        compile_model(model, recipe, steps, distribution=job.distribution, task=job.task)
    arguments["input_shape"] = tuple(model.inputs[0].shape[1:])
    return Network(model, twin or model, arguments, policy)


def _build(build: Callable[..., keras.Model], arguments: Mapping[str, Any], policy: str, job: Job) -> keras.Model:
    """Return the network with its first weights, which the seed decides."""
    keras.utils.set_random_seed(job.seed)
    with _models.dtype_policy(policy):
        model = build(**arguments)
    job.task.check(model)
    set_biases(model, job.recipe)
    if job.recipe.freeze:  # Of the twin too, because it is what is saved
        freeze(model, job.recipe.freeze)
    return model


def _with_weights(
    build: Callable[..., keras.Model], weights: Any, class_names: tuple[str, ...], **arguments: Any
) -> keras.Model:
    """Build a network with trained weights.

    If these are for other classes, its classifier starts from scratch.
    """
    model = build(weights=weights.name, **arguments)
    known = class_names in (weights.class_names, weights.class_ids)
    # With another number of classes the builder has made a new classifier already
    if not known and arguments["classes"] == weights.network.get("classes"):
        for name in sorted(_models.output_layers(model)):
            layer = model.get_layer(name)
            if not layer.trainable_weights:  # such as the fixed codes of LeNet-5
                continue
            fresh = type(layer).from_config(layer.get_config())
            fresh.build(layer.input.shape)
            layer.set_weights(fresh.get_weights())
            warnings.warn(
                f"{build.__name__}: the weights {weights.name!r} are for other classes: {name} must be trained from "
                "scratch, all other layers have theirs",
                stacklevel=8,  # The caller of `train`
            )
    return model


def _input_shape(job: Job) -> tuple[int, int, int] | None:
    """Return the network's input shape; None to leave it to the builder."""
    height, width, channels = job.source.image_shape
    if job.weights and job.weights.network:
        height = width = None
        channels = job.weights.preprocessing.channels if job.weights.preprocessing else channels
    if job.input_size is not None:
        return (job.input_size, job.input_size, channels)
    return None if height is None or width is None else (height, width, channels)
