"""Write SavedModel folders, which also decode image files."""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from keras_cnns.data.image_bytes import decode_image_bytes
from keras_cnns.data.pipeline import prepare
from keras_cnns.export import _runner
from keras_cnns.export._prepared import Job, Prepared
from keras_cnns.export._servable import Servable, save_servable
from keras_cnns.export.formats import PROBABILITIES
from keras_cnns.tasks import classifiers

TOP = 5  # number of classes that `serve_image_bytes` names


def write(job: Job, path: Path) -> None:
    """Write a SavedModel folder.

    Its signatures are `serving_default` and, if the preprocessing is inside, `serve_image_bytes`.

    Args:
        job: what to write.
        path: the folder.
    """
    prepared = job.prepared
    servable = Servable(prepared, prepared.options.input_type)
    signatures = {"serving_default": servable.serve}
    if prepared.options.preprocess:
        signatures["serve_image_bytes"] = image_bytes_function(servable, prepared)
    job.say("tracing the network")
    save_servable(servable, path, signatures)
    assets = path / "assets"
    assets.mkdir(exist_ok=True)
    (assets / _runner.CARD).write_text(job.card_text, "utf8")
    (assets / _runner.LABELS).write_text(job.labels_text, "utf8")


def image_bytes_function(servable: Servable, prepared: Prepared) -> Callable:
    """Return the `tf.function` from image files to outputs.

    It takes JPEG and PNG files. For a classifier it also gives the best classes, for scores of pixels the mask, in the
    size of the model's input.

    It computes what the model does for the pixels of `data.pipeline.read_files`, or fails; see `data.image_bytes`.

    Args:
        servable: the model's graph.
        prepared: the model.
    """
    preprocessing, options = prepared.preprocessing, prepared.options
    count = min(TOP, classifiers.class_count(prepared.model.outputs[0]))

    def read_pixels(numbered):
        number, content = numbered
        name = tf.strings.join(["image_bytes[", tf.strings.as_string(number), "]"])
        return prepare(decode_image_bytes(content, preprocessing.channels, name), preprocessing)

    # Without AutoGraph: it would parse and rewrite all of `data.image_bytes`, for seconds, to find no Python branch
    @tf.function(input_signature=[tf.TensorSpec((options.static_batch,), tf.string, "image_bytes")], autograph=False)
    def serve_image_bytes(image_bytes):
        numbered = (tf.range(tf.size(image_bytes)), image_bytes)
        pixels = tf.map_fn(read_pixels, numbered, fn_output_signature=tf.TensorSpec(preprocessing.shape, tf.uint8))
        outputs = servable.serve(tf.cast(pixels, options.input_type))
        if not prepared.is_classifier:
            return outputs
        main = prepared.main_output
        scores = outputs[main]
        if prepared.scores_pixels:
            return {**outputs, "mask": tf.cast(tf.argmax(scores, axis=-1), tf.uint8)}
        if scores.shape[-1] == 1:  # the score of the second of two classes
            scores = tf.concat([(1 - scores) if main == PROBABILITIES else tf.zeros_like(scores), scores], axis=-1)
        values, indices = tf.math.top_k(scores, count)
        outputs = {**outputs, f"top_{main}": values, "top_indices": indices}
        if prepared.class_names:
            outputs["top_labels"] = tf.gather(tf.constant(prepared.class_names), indices)
        return outputs

    return serve_image_bytes
