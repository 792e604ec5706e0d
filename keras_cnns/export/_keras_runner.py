"""Keras itself, as benchmarks run it: a program that serves as `_runner` does."""

import os
import sys
from pathlib import Path

KERAS = "keras"  # what stands for a format


def open_keras(path, threads=0):
    """Return the `Runner` of a `.keras` file with a `ModelInfo`.

    A call is what people call, `predict_on_batch`; it takes uint8 pixels, as artifacts do, and first normalizes them as
    the record says. Without one the network gets them as they are.
    """
    from keras_cnns import _custom, _models, saving
    from keras_cnns.export import _runner
    from keras_cnns.export.formats import INPUT, LOGITS, OUTPUT, PROBABILITIES

    _runner.limit_tensorflow(threads)
    for module in sys.argv[4:]:
        _custom.import_layers(module)
    info, model = saving.read_info(path), saving.load_model(path)
    record = info.preprocessing
    output = PROBABILITIES if _models.gives_probabilities(model) else LOGITS if info.class_names else OUTPUT

    def call(image):
        pixels = image.astype("float32")
        return {output: model.predict_on_batch(record.normalize(pixels) if record else pixels)}

    def described(dtype, tensor):
        return {"dtype": dtype, "shape": list(tensor.shape), "scale": None, "zero_point": None}

    card = {
        "classes": list(info.class_names),
        "outputs": [output],
        "multi_label": _models.is_multi_label(model),
        "preprocessing": {**record.to_json(), "inside": True} if record else {},
        "options": {"quantize": "none"},
    }
    inputs, outputs = {INPUT: described("uint8", model.inputs[0])}, {output: described("float32", model.outputs[0])}
    return _runner.Runner(inputs, outputs, card, call)


def main():
    """Serve requests until stdin ends."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    sys.path.append(str(Path(__file__).resolve().parents[2]))  # where this package is, installed or not
    from keras_cnns.export import _runner

    _runner.OPEN[KERAS] = open_keras
    _runner.main()


if __name__ == "__main__":
    main()
