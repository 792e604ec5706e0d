"""The private parts of other packages that are used.

They are Keras, TensorFlow, tf2onnx, JAX and tensorflow-datasets.

Each function here touches one name that its library does not document, and may change or remove in any version. Its
docstring says why the name is needed, since when it has been there, and what would replace it.
tests/test_keras_private.py calls every function, so that an upgrade which breaks one fails there, by its name.

One private name cannot be wrapped: `keras_cnns.layers.BatchNormalization` overrides `_moments` of Keras's class and
reads its `_reduction_axes`, because replicas of `tf.distribute` must share the statistics of a batch. The public way is
`synchronized=True`, but that is part of the layer's configuration, which would then differ from Keras's own.

Importing this module imports none of the libraries.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


# ---- The graph of a functional model


def all_layers(layer: keras.Layer) -> list[keras.Layer]:
    """Return a layer and every layer inside it, at any depth.

    Why: `model.layers` ends at nested models, and a layer such as `Bidirectional` has no public list of its parts.
    Since: Keras 3.0, `Layer._flatten_layers`. Replacement: a public recursive iteration over layers.
    """
    return layer._flatten_layers()


def producer(tensor: keras.KerasTensor) -> keras.Operation:
    """Return the layer or operation that a symbolic tensor comes out of.

    Why: a model's end is examined from its outputs backward, for instance to find the last softmax.
    Since: Keras 3.0, `KerasTensor._keras_history`. Replacement: a public property of the tensor.
    """
    return tensor._keras_history.operation


def call_index(tensor: keras.KerasTensor) -> int:
    """Return the number of the producer's call that made a tensor.

    Calls are counted from 0.

    Why, since and replacement: as `producer`; a layer that is used twice has two calls.
    """
    return tensor._keras_history.node_index


def call_inputs(operation: keras.Operation, index: int) -> list[keras.KerasTensor]:
    """Return the tensors that an operation took in one of its calls.

    Why: `operation.input` raises an error for a layer that is used more than once.
    Since: Keras 3.0, `Operation._inbound_nodes`. Replacement: a public list of an operation's calls.
    """
    return operation._inbound_nodes[index].input_tensors


def as_functional(operation: keras.Operation) -> keras.Model | None:
    """Return a functional or sequential model as a functional one.

    None for a sequential model without a known input, and for any other operation.

    Why: `keras.src.models.Functional` has no public name, and a sequential model keeps its graph in a private one.
    Since: Keras 3.0, `Sequential._functional` and `Functional._run_through_graph`. Replacement: a public class.
    """
    import keras

    if isinstance(operation, keras.Sequential):
        operation = operation._functional
    return operation if hasattr(operation, "_run_through_graph") else None


def run_through_graph(
    model: keras.Model, tensors: Any, operation_fn: Callable[[keras.Operation], Callable[..., Any]]
) -> Any:
    """Compute a functional model's outputs with other functions for its operations.

    Why: `keras.models.clone_model(call_function=...)` replaces calls only for symbolic tensors and copies the model.
    Since: Keras 3.0, `Function._run_through_graph`. Replacement: a public argument `operation_fn` of the model's call.

    Args:
        model: what `as_functional` returned.
        tensors: the inputs, symbolic or computed.
        operation_fn: maps an operation to a function with the arguments of the operation's call.
    """
    return model._run_through_graph(tensors, operation_fn=operation_fn)


def nodes_from_inputs(model: keras.Model) -> list[Any]:
    """Return the calls of operations in a functional model, in order.

    Each one comes after those whose outputs it takes.

    A node has `operation`, `outputs` and `is_input`.

    Why: to find the first operation whose output is not finite, in one run of the whole model.
    Since: Keras 3.0, `Function._nodes_by_depth`. Replacement: a public, ordered list of calls.
    """
    nodes_by_depth = model._nodes_by_depth
    return [node for depth in sorted(nodes_by_depth, reverse=True) for node in nodes_by_depth[depth]]


def takes_training(operation: keras.Operation) -> bool:
    """Return whether the call of a layer has an argument `training`.

    Why: layers are called one by one, and a layer without the argument rejects it.
    Since: Keras 3.0, `Layer._call_has_training_arg`. Replacement: `inspect.signature`, which wrapped calls hide.
    """
    return bool(getattr(operation, "_call_has_training_arg", False))


# ---- Training


def start_fit_at(model: keras.Model, epoch: int | None) -> None:
    """Let the running or next `fit` begin with an epoch.

    With None it begins with its argument `initial_epoch`.

    Why: a resumed checkpoint is read inside `fit`, when `initial_epoch` has been passed already.
    Since: Keras 3.15 or earlier, `Trainer._initial_epoch`, which `keras.callbacks.BackupAndRestore` sets in the same
    way. Replacement: a public way for a callback to set the first epoch.
    """
    model._initial_epoch = epoch


def skip_steps(model: keras.Model, steps: int) -> None:
    """Let the first steps of the running `fit` do nothing.

    This is for TensorFlow only; call it from `on_train_begin`.

    Why: `fit` cannot begin within an epoch. Giving it a shorter first epoch is no way out: when a step of TensorFlow
    finds no data, it has already done what does not depend on data, such as counting in the optimizer.
    Since: Keras 3.0, `Trainer.train_function`, a compiled function of an iterator that `fit` looks up at every step.
    Replacement: an argument `initial_step` of `fit`.
    """
    function, left = model.train_function, steps

    def pretend(iterator):
        nonlocal left
        left -= model.steps_per_execution
        if left <= 0:
            model.train_function = function
        return {"loss": 0.0}

    model.train_function = pretend


def use_seeds(layer: keras.Layer, seeds: keras.random.SeedGenerator) -> None:
    """Let a random preprocessing layer use a given seed generator.

    Why: inside `tf.data` the layer's stateful generator would give other numbers after a resume.
    Since: Keras 3.0, `TFDataLayer._get_seed_generator`. Replacement: a public argument for a generator or a seed.
    """
    layer._get_seed_generator = lambda backend=None: seeds


# ---- TensorFlow, tf2onnx, JAX, tensorflow-datasets


def tflite_schema() -> ModuleType:
    """Return the module that reads and writes a TFLite file's flatbuffer.

    Why: operators and tensor types of a file are listed, and its output is renamed, without an interpreter.
    Since: TensorFlow 2.21 or earlier, `tensorflow.lite.python.schema_py_generated`. Replacement: the package `tflite`,
    or flatc.
    """
    from tensorflow.lite.python import schema_py_generated

    return schema_py_generated


@contextlib.contextmanager
def failing_optimizers() -> Iterator[None]:
    """Raise the errors of tf2onnx's optimizers within the context.

    Why: outside of it, such an optimizer is skipped. For that tf2onnx copies the whole graph before each of some two
    dozen passes, in a fifth of the time of a conversion.
    Since: tf2onnx 1.17 or earlier, `tf2onnx.constants.ENV_TF2ONNX_CATCH_ERRORS`, an environment variable.
    Replacement: an argument of `tf2onnx.convert.from_function`.
    """
    name = "TF2ONNX_CATCH_ERRORS"
    before = os.environ.get(name)
    os.environ[name] = "FALSE"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def jax_coordination_client() -> Any | None:
    """Return this process's client of JAX's coordination service.

    None if only one process trains.

    Why: its barrier names the processes that did not come, which tells which one died.
    Since: JAX 0.6 or earlier, `jax._src.distributed.global_state`. Replacement: `jax.experimental.multihost_utils`,
    once its barrier takes a time limit and names the missing processes.
    """
    from jax._src.distributed import global_state

    return global_state.client


def keep_tfds_offline() -> None:
    """Keep tensorflow-datasets from asking its bucket for descriptions.

    Why: a dataset on the disk must open without a network, and the request is retried for minutes.
    Since: tensorflow-datasets 4.9 or earlier, `gcs_utils._is_gcs_disabled`; in 4.9.10 it is True unless other code
    changes it. Replacement: a public setting.
    """
    from tensorflow_datasets.core.utils import gcs_utils

    gcs_utils._is_gcs_disabled = True
