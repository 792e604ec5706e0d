"""Our SGD, compared with Keras's own."""

import json
import zipfile

import keras
import numpy as np
import pytest

from keras_cnns import recipes
from keras_cnns.training import optimizers

tf = pytest.importorskip("tensorflow")


def trained(make, **options):
    """Return a model after 12 steps with an optimizer, and the values of all its variables."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(64, "relu"), keras.layers.Dense(5, "softmax", dtype="mixed_bfloat16")]
    model = keras.Sequential([keras.Input((8,)), *layers])
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 20)
    model.compile(make(schedule, momentum=0.9, **options), "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    model.fit(random.normal(size=(64, 8)), random.integers(0, 5, 64), epochs=3, batch_size=16, verbose=0)
    return model, [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]


@pytest.mark.parametrize(
    "options", [{}, {"nesterov": True}, {"weight_decay": 0.01}, {"gradient_accumulation_steps": 2}], ids=str
)
def test_weights_and_momenta_equal_kerass_bit_for_bit(options, monkeypatch):
    calls, fused = [], tf.raw_ops.ResourceApplyKerasMomentum
    monkeypatch.setattr(tf.raw_ops, "ResourceApplyKerasMomentum", lambda **given: calls.append(given) or fused(**given))
    (_, expected), keras_calls = trained(keras.optimizers.SGD, **options), len(calls)
    _, values = trained(optimizers.SGD, **options)
    assert keras_calls == 0 and calls  # Keras does not use the operation, and ours does
    for ours, theirs in zip(values, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_other_updates_are_kerass():
    """Without momentum, and with a sparse gradient."""
    for momentum, gradient in ((0.0, tf.ones((4, 2))), (0.9, tf.IndexedSlices(tf.ones((1, 2)), [2], (4, 2)))):
        values = []
        for make in (keras.optimizers.SGD, optimizers.SGD):
            variable, sgd = keras.Variable(np.ones((4, 2), "float32")), make(0.1, momentum=momentum)
            sgd.build([variable])
            for _ in range(2):
                sgd.apply([gradient])
            values.append(variable.numpy())
        np.testing.assert_array_equal(*values)
        assert (values[0] != 1).any()


def test_replicas_train_as_kerass():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    assert strategy.num_replicas_in_sync == 1
    with strategy.scope():
        _, values = trained(optimizers.SGD)
        _, expected = trained(keras.optimizers.SGD)
    for ours, theirs in zip(values, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_file_names_kerass_class(tmp_path):
    recipe = recipes.Recipe("r", optimizer="sgd", schedule="constant", learning_rate=0.1)
    assert type(optimizers.optimizer(recipe, 10)) is optimizers.SGD
    model, _ = trained(optimizers.SGD, nesterov=True)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))["compile_config"]["optimizer"]
    assert (config["module"], config["class_name"]) == ("keras.optimizers", "SGD")
    again = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert type(again) is keras.optimizers.SGD and again.nesterov
    for ours, theirs in zip(again.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
