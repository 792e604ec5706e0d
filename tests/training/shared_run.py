"""Training runs in child processes, with other devices and backends."""

import json
import os
import signal
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def Net(classes=10, input_shape=(8, 8, 3), dropout=0.0, normalization=True):
    """Build a small network, perhaps with batch normalization."""
    import keras

    from keras_cnns.layers import BatchNormalization

    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, name="conv1")(inputs)
    x = BatchNormalization(name="bn", momentum=0.9)(x) if normalization else x
    x = keras.layers.Dropout(dropout, name="drop")(keras.layers.ReLU(name="relu")(x))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="predictions")(x)
    return keras.Model(inputs, outputs, name="net")


def colors(train=80, validation=19, test=20):
    """Return a source of images whose classes are hard to distinguish."""
    from tests.colors import colors as all_colors

    return all_colors(train, test, validation, size=(8, 8), noise=200, signal=30)


def at_step(step, happens):
    """Call `happens` after so many steps of the runs that follow."""
    from keras_cnns.training import stops

    calls, real = [], stops.CtrlC.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        calls.append(batch)
        if len(calls) == step:
            happens(self)
        real(self, batch, logs)

    stops.CtrlC.on_train_batch_end = on_train_batch_end


def main(runs, logical=None, join=None):
    """Train for each of `runs`, and print each record as JSON."""
    import keras

    if logical and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * logical)
    from keras_cnns import recipes, training
    from keras_cnns.errors import Interrupted, TrainingError
    from keras_cnns.training import compilation

    compilation._steps_per_execution = lambda model, batch_size: 1
    plain = {"optimizer": "sgd", "learning_rate": 0.05, "batch_size": 8, "epochs": 2, "precision": "float32"}
    for output, settings in runs.items():
        settings = dict(settings)
        if step := settings.pop("stop_at", None):  # As Ctrl-C does
            at_step(step, lambda callback: callback.signals.note())
        if step := settings.pop("die_at", None):
            at_step(step, lambda callback: os.kill(os.getpid(), signal.SIGKILL))
        distribution = training.distribution(settings.pop("devices", "all"), **(join or {}))
        chosen = recipes.Recipe("plain", **{**plain, **settings.pop("recipe", {})})
        source = colors(**settings.pop("images", {}))
        try:
            info = training.train(Net, source, chosen, output, distribution=distribution, quiet=True, **settings)
            print(json.dumps(info.to_json()), flush=True)
        except Interrupted as stop:
            print(json.dumps({"stopped": str(stop)}), flush=True)
        except TrainingError as error:
            if distribution.processes > 1:
                raise
            print(json.dumps({"failed": str(error)}), flush=True)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
