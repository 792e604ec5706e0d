"""The child process in which benchmarks run a Keras model.

It has the protocol of `_runner`.
"""

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_cnns.export._runner import Runner

KERAS = "keras"  # the FORMAT of a `.keras` file on this program's command line


def open_keras(path: "str | Path", threads: int = 0, modules: Sequence[str] = ()) -> "Runner":
    """Return the `Runner` of a `.keras` file that carries a `ModelInfo`.

    A call is `predict_on_batch`. It takes uint8 pixels, as artifacts do, and first normalizes them by the file's
    preprocessing; without one the network gets the pixels unchanged.

    Args:
        path: the file.
        threads: how many TensorFlow may use; 0: its default.
        modules: names of modules that define layers of the model.
    """
    # Imported here, after `main` has chosen Keras's backend and extended the import path
    from keras_cnns import _custom, saving
    from keras_cnns.export import _runner
    from keras_cnns.export.formats import INPUT, LOGITS, OUTPUT, PROBABILITIES
    from keras_cnns.tasks import classifiers
    from keras_cnns.tasks.registry import task_of

    _runner.limit_tensorflow(threads)
    for module in modules:
        _custom.import_layers(module)
    info, model = saving.read_info(path) or saving.ModelInfo(), saving.load_model(path)
    preprocessing = info.preprocessing
    if classifiers.gives_probabilities(model):
        output = PROBABILITIES
    else:
        output = LOGITS if info.class_names and task_of(info).scored != "nothing" else OUTPUT

    def call(images):
        pixels = images.astype("float32")
        return {output: model.predict_on_batch(preprocessing.normalize(pixels) if preprocessing else pixels)}

    def describe(dtype, tensor):
        return {"dtype": dtype, "shape": list(tensor.shape), "scale": None, "zero_point": None}

    card = {
        "classes": list(info.class_names),
        "outputs": [output],
        "multi_label": classifiers.is_multi_label(model),
        "preprocessing": {**preprocessing.to_json(), "inside": True} if preprocessing else {},
        "options": {"quantize": "none"},
    }
    inputs, outputs = {INPUT: describe("uint8", model.inputs[0])}, {output: describe("float32", model.outputs[0])}
    return _runner.Runner(inputs, outputs, card, call)


def main() -> None:
    """Serve requests until stdin ends."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    sys.path.append(str(Path(__file__).resolve().parents[2]))  # the folder of this package, installed or not
    from keras_cnns.export import _runner

    _runner.main({KERAS: functools.partial(open_keras, modules=sys.argv[4:])})


if __name__ == "__main__":
    main()
