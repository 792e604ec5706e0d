"""That the private parts of other libraries in `keras_cnns._keras` still work."""

import inspect

import keras
import numpy as np
import pytest

from keras_cnns import _keras


@pytest.fixture
def model():
    """A functional model with a nested one and a shared layer."""
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="deep")], name="inner")
    inputs = keras.Input((4,), name="images")
    twice = keras.layers.Dense(4, name="twice")
    x = inner(twice(twice(inputs)))
    return keras.Model(inputs, keras.layers.Softmax(name="end")(keras.layers.Dropout(0.5, name="drop")(x)))


def test_every_function_is_called_here():
    source = inspect.getsource(inspect.getmodule(test_every_function_is_called_here))
    functions = [name for name, value in vars(_keras).items() if inspect.isfunction(value)]
    assert functions and not [name for name in functions if f"_keras.{name}(" not in source]


def test_all_layers_include_those_of_nested_models(model):
    names = {layer.name for layer in _keras.all_layers(model)}
    assert {"twice", "inner", "deep", "drop", "end", model.name} <= names


def test_the_graph_is_walked_backward(model):
    output = model.outputs[0]
    assert _keras.producer(output) is model.get_layer("end")
    (before,) = _keras.call_inputs(_keras.producer(output), _keras.call_index(output))
    assert _keras.producer(before).name == "drop"
    twice = model.get_layer("twice")
    first, second = (_keras.call_inputs(twice, call)[0] for call in (0, 1))
    assert first is model.inputs[0]
    assert _keras.producer(second) is twice and _keras.call_index(second) == 0


def test_functional_and_sequential_models_have_a_graph(model):
    assert _keras.as_functional(model) is model
    inner = _keras.as_functional(model.get_layer("inner"))
    assert [layer.name for layer in inner.layers][-1] == "deep"
    assert _keras.as_functional(model.get_layer("twice")) is None
    assert _keras.as_functional(keras.Sequential([keras.layers.Dense(2)])) is None  # its input is not known


def test_operations_are_replaced_while_a_graph_runs(model):
    names = []

    def note(operation):
        def call(*args, **kwargs):
            names.append(operation.name)
            return operation(*args, **kwargs)

        return call

    images = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    outputs = _keras.run_through_graph(model, images, note)
    np.testing.assert_array_equal(outputs, model(images))
    assert names == ["twice", "twice", "inner", "drop", "end"]


def test_nodes_come_after_those_they_take_from(model):
    nodes = _keras.nodes_from_inputs(model)
    assert [node.operation.name for node in nodes] == ["images", "twice", "twice", "inner", "drop", "end"]
    assert [node.is_input for node in nodes] == [True] + 5 * [False]
    assert nodes[-1].outputs[0] is model.outputs[0]


def test_layers_say_whether_they_take_the_argument_training(model):
    assert _keras.takes_training(model.get_layer("drop"))
    assert not _keras.takes_training(model.get_layer("end"))
    assert not _keras.takes_training(_keras.producer(keras.Input((2,)) + 1.0))


class Begin(keras.callbacks.Callback):
    """Begin `fit` at an epoch and, on TensorFlow, at a step."""

    def __init__(self, epoch, step):
        super().__init__()
        self.epoch, self.step, self.epochs = epoch, step, []

    def on_train_begin(self, logs=None):
        _keras.start_fit_at(self.model, self.epoch)
        if self.step:
            _keras.skip_steps(self.model, self.step)

    def on_epoch_begin(self, epoch, logs=None):
        _keras.start_fit_at(self.model, None)
        self.epochs.append(epoch)


def test_fit_starts_at_an_epoch_and_skips_steps(model):
    model.compile("sgd", "mse", steps_per_execution=2)
    begin = Begin(3, 4 if keras.backend.backend() == "tensorflow" else 0)
    images = np.zeros((8, 4), "float32")
    model.fit(images, images, batch_size=1, epochs=5, verbose=0, callbacks=[begin])
    assert begin.epochs == [3, 4]
    assert int(model.optimizer.iterations) == 16 - begin.step
    model.fit(images, images, batch_size=1, epochs=1, verbose=0)  # and nothing of it is left for the next one
    assert int(model.optimizer.iterations) == 24 - begin.step


def test_random_preprocessing_layers_draw_from_the_given_seeds():
    class Seeds(keras.random.SeedGenerator):
        drawn = 0

        def next(self, ordered=True):
            self.drawn += 1
            return super().next(ordered)

    layer, seeds = keras.layers.MixUp(0.2), Seeds(1)
    _keras.use_seeds(layer, seeds)
    batch = {"images": np.ones((4, 2, 2, 3), "float32"), "labels": np.eye(4, dtype="float32")}
    layer(batch, training=True)
    assert seeds.drawn


def test_the_method_that_our_batch_normalization_overrides():
    layer = keras.layers.BatchNormalization()
    images = np.random.default_rng(0).normal(size=(3, 2, 2, 5)).astype("float32")
    layer.build(images.shape)
    mean, variance = layer._moments(images, None)
    axes = tuple(layer._reduction_axes)
    np.testing.assert_allclose(mean, images.mean(axes), atol=1e-5)
    np.testing.assert_allclose(variance, images.var(axes), atol=1e-5)


def test_the_schema_of_tflite_files():
    schema = _keras.tflite_schema()
    assert schema.BuiltinOperator.CONV_2D == 3 and schema.TensorType.INT8 == 9
    assert callable(schema.Model.GetRootAs) and callable(schema.ModelT.InitFromPackedBuf)
    assert callable(schema.BufferT) and callable(schema.MetadataT)


def test_optimizers_of_tf2onnx_fail_where_they_are_told_to(monkeypatch):
    import tensorflow as tf
    from tf2onnx import convert, optimizer

    class Failing:
        def optimize(self, graph, iteration):
            raise RuntimeError("this optimizer fails")

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, "x")])
    def add_one(x):
        return {"y": x + 1.0}

    monkeypatch.setattr(optimizer, "_optimizers", {"failing": Failing})
    arguments = {"function": add_one, "input_signature": add_one.input_signature, "opset": 17}
    with _keras.failing_optimizers(), pytest.raises(RuntimeError, match="this optimizer fails"):
        convert.from_function(**arguments)
    skipped, _ = convert.from_function(**arguments)
    # The export does without the optimizer too
    from keras_cnns.export import _onnx

    for proto in (skipped, _onnx._run_tf2onnx(add_one, 17)):
        assert "Add" in {node.op_type for node in proto.graph.node}


def test_one_process_has_no_coordination_client():
    pytest.importorskip("jax")
    from jax._src.lib import _jax

    assert _keras.jax_coordination_client() is None
    assert callable(_jax.DistributedRuntimeClient.wait_at_barrier)


def test_tfds_asks_no_bucket():
    from tensorflow_datasets.core.utils import gcs_utils

    _keras.keep_tfds_offline()
    assert not gcs_utils.gcs_dataset_info_files("mnist/3.0.1") and not gcs_utils.is_dataset_on_gcs("mnist/3.0.1")
