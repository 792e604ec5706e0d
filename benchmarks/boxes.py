"""Boxes: the input pipeline of SSD300, the choice of detections, and average precision.

    python benchmarks/boxes.py [--rounds 5] [--images 5000]

Both pipelines decode JPEGs of 500x375, stretch them to 300x300, mirror half of them with their boxes, and batch 16; one
of ours also says what each of the 8,732 default boxes is to find. Detections are chosen from 8,732 boxes of 20 classes,
with scores as those of a trained network. The precision is COCO's, of images with 20 detections and 7 objects each.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import common
import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from keras_cnns import applications, data, tasks
from keras_cnns.data.file_split import FileSplit
from keras_cnns.recipes import BOXES
from keras_cnns.tasks.boxes import Detections, best_detections

IMAGES, BATCH, SIZE, CLASSES, OBJECTS = 192, 16, (300, 300), 20, 7


def write_images(folder: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Write JPEGs, and return their paths and objects."""
    random, paths, targets = np.random.default_rng(0), [], []
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    for k in range(IMAGES):
        paths.append(str(folder / f"{k}.jpg"))
        photographs[k % 2].resize((500, 375)).save(paths[-1], quality=90)
        targets.append(random_objects(random, OBJECTS))
    return paths, targets


def random_objects(random: np.random.Generator, count: int) -> dict[str, Any]:
    """Return objects in an image of 500x375."""
    start = random.uniform((0, 0), (300, 400), (count, 2))
    boxes = np.concatenate([start, start + random.uniform(20, 75, (count, 2))], 1).astype("float32")
    return {"boxes": boxes, "labels": random.integers(0, CLASSES, count)}


def plain_pipeline(paths: list[str], targets: list[dict[str, Any]]) -> tf.data.Dataset:
    """Return the pipeline that most programs write."""
    boxes, labels = np.stack([each["boxes"] for each in targets]), np.stack([each["labels"] for each in targets])

    def load(path, boxes, labels):
        image = tf.image.resize(tf.io.decode_jpeg(tf.io.read_file(path), 3), SIZE)
        boxes = boxes / tf.constant([375.0, 500.0, 375.0, 500.0]) * 300.0
        if tf.random.uniform(()) < 0.5:
            image = image[:, ::-1]
            boxes = tf.stack([boxes[:, 0], 300.0 - boxes[:, 3], boxes[:, 2], 300.0 - boxes[:, 1]], -1)
        return (image - 128.0) / 64.0, boxes, labels

    rows = tf.data.Dataset.from_tensor_slices((paths, boxes, labels)).shuffle(len(paths))
    return rows.map(load, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def all_batches(dataset: tf.data.Dataset) -> Callable[[], Any]:
    """Return a function that reads a dataset once."""
    return lambda: [None for _ in dataset]


def measure_pipelines(rounds: int) -> list[dict[str, Any]]:
    """Return the rows that compare the pipelines."""
    with tempfile.TemporaryDirectory() as folder:
        paths, targets = write_images(Path(folder))
        split = FileSplit(np.array(paths, object), targets, data.Boxes(CLASSES))
        preprocessing = data.Preprocessing(SIZE, 3, mean=(128.0,), scale=(1 / 64,))
        ours = data.make_dataset(split, preprocessing, BATCH, shuffle=True, augmentation="flip")
        encode = tasks.find_task("detection").encoding(applications.SSD300(), BOXES).encode
        functions = {
            "ours": all_batches(ours),
            "ours, with what default boxes find": all_batches(ours.map(lambda images, found: (images, encode(found)))),
            "plain tf.data": all_batches(plain_pipeline(paths, targets)),
        }
        times = common.interleave(functions, rounds)
    case = f"{IMAGES} images of 500x375 with {OBJECTS} boxes each, to 300x300"
    return [common.row(case, times, "ours", "plain tf.data", 1.25)]


def measure_choice(rounds: int) -> dict[str, Any]:
    """Return the row on the choice of detections."""
    random = np.random.default_rng(0)
    boxes = applications.SSD300().get_layer("boxes").boxes
    boxes = boxes + random.normal(0, 4, boxes.shape).astype("float32")
    logits = random.normal(0, 0.5, (len(boxes), 1 + CLASSES)).astype("float32")
    logits[:, 0] += 6
    likely = random.integers(0, len(boxes), 300)
    logits[likely, random.integers(1, 1 + CLASSES, 300)] += 9
    exponents = np.exp(logits)
    scores = (exponents / exponents.sum(1, keepdims=True))[:, 1:]

    def by_tensorflow():
        return tf.image.combined_non_max_suppression(
            boxes[None, :, None], scores[None], 400, 200, 0.45, 0.01, clip_boxes=False
        )

    functions = {"best_detections": lambda: best_detections(boxes, scores), "TensorFlow's operation": by_tensorflow}
    times = common.interleave(functions, 4 * rounds)
    return common.row("detections of 8,732 boxes, 20 classes", times, "best_detections", "TensorFlow's operation", None)


def measure_precision(images: int) -> dict[str, Any]:
    """Return the row on the time of average precision."""
    random = np.random.default_rng(0)
    pairs = []
    for _ in range(images):
        target, more = random_objects(random, OBJECTS), random_objects(random, 20 - OBJECTS)
        near = target["boxes"] + random.normal(0, 4, (OBJECTS, 4)).astype("float32")
        found = np.concatenate([near, more["boxes"]]), np.concatenate([target["labels"], more["labels"]])
        pairs.append((Detections(*found, np.sort(random.random(20)).astype("float32")[::-1]), target))

    def measure():
        metric = tasks.BoxMetric([str(k) for k in range(CLASSES)])
        for found, target in pairs:
            metric.update([found], [target])
        return metric.result()

    seconds = common.interleave({"tasks.BoxMetric": measure}, 1)["tasks.BoxMetric"][0]
    print(f"average precision of {images:,} images: {seconds:.1f} s")
    return {"case": f"average precision of {images:,} images", "seconds": round(seconds, 2)}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=5000)
    arguments = parser.parse_args()
    rows = measure_pipelines(arguments.rounds)
    rows += [measure_choice(arguments.rounds), measure_precision(arguments.images)]
    common.write("boxes", rows)


if __name__ == "__main__":
    main()
