"""Reading images with masks, compared with plain tf.data, and the memory of an evaluation of large maps.

    python benchmarks/masks.py [--rounds 5] [--maps 500]

Both pipelines cut a random part out of JPEGs of 500x375 and their masks, mirror half of them, and resize them to
224x224. Ours decodes the part alone. The maps are 500x500 of 21 classes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import common
import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from keras_cnns import data, evaluation
from keras_cnns.data.file_split import FileSplit

IMAGES, BATCH, SIZE, CLASSES, SIDE = 192, 16, (224, 224), 21, 500


def write_images(folder: Path, count: int, size: tuple[int, int]) -> tuple[list[str], list[str]]:
    """Write JPEGs and masks of one size, and return their paths."""
    random, paths, masks = np.random.default_rng(0), [], []
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    for k in range(count):
        photograph, part = photographs[k % 2], random.uniform(0.8, 1)
        width, height = (round(part * side) for side in photograph.size)
        paths.append(str(folder / f"{k}.jpg"))
        photograph.crop((0, 0, width, height)).resize(size[::-1]).save(paths[-1], quality=90)
        blocks = random.integers(0, CLASSES, (size[0] // 50, size[1] // 50)).astype("uint8")
        masks.append(str(folder / f"{k}.png"))
        Image.fromarray(blocks).resize(size[::-1], Image.Resampling.NEAREST).save(masks[-1])
    return paths, masks


def plain_pipeline(paths: list[str], masks: list[str]) -> tf.data.Dataset:
    """Return the pipeline that most programs write: decode all, cut, mirror, resize."""

    def load(path, mask_path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), 3)
        mask = tf.io.decode_png(tf.io.read_file(mask_path), 1)
        sides = tf.cast(tf.shape(image)[:2], tf.float32)
        part = tf.cast(sides * tf.sqrt(tf.random.uniform((), 0.08, 1.0)), tf.int32)
        start = tf.cast(tf.random.uniform((2,)) * tf.cast(tf.shape(image)[:2] - part, tf.float32), tf.int32)
        image = tf.slice(image, [start[0], start[1], 0], [part[0], part[1], 3])
        mask = tf.slice(mask, [start[0], start[1], 0], [part[0], part[1], 1])
        image, mask = tf.image.resize(image, SIZE), tf.image.resize(mask, SIZE, "nearest")
        if tf.random.uniform(()) < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return (image - 128.0) / 64.0, mask[..., 0]

    names = tf.data.Dataset.from_tensor_slices((paths, masks)).shuffle(len(paths))
    return names.map(load, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def all_batches(dataset: tf.data.Dataset) -> Callable[[], Any]:
    """Return a function that reads a dataset once."""
    return lambda: [None for _ in dataset]


def measure_pipelines(rounds: int) -> dict[str, Any]:
    """Return the row that compares the pipelines."""
    with tempfile.TemporaryDirectory() as folder:
        paths, masks = write_images(Path(folder), IMAGES, (375, 500))
        split = FileSplit(np.array(paths, object), masks, data.Mask(CLASSES))
        preprocessing = data.Preprocessing(SIZE, 3, mean=(128.0,), scale=(1 / 64,))
        ours = data.make_dataset(split, preprocessing, BATCH, shuffle=True, augmentation="inception-crop")
        functions = {"ours": all_batches(ours), "plain tf.data": all_batches(plain_pipeline(paths, masks))}
        times = common.interleave(functions, rounds)
    return common.row(f"{IMAGES} images of 500x375 with masks", times, "ours", "plain tf.data", 1.25)


def evaluate_maps(maps: int) -> None:
    """Evaluate large maps, and print the peak memory of this process in MB."""
    with tempfile.TemporaryDirectory() as folder:
        paths, masks = write_images(Path(folder), 8, (SIDE, SIDE))
        places = np.arange(maps) % len(paths)
        split = FileSplit(np.array(paths, object)[places], np.array(masks, object)[places], data.Mask(CLASSES))
        inputs = keras.Input((SIDE, SIDE, 3))
        model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 1, activation="softmax")(inputs))
        names = [f"class {k}" for k in range(CLASSES)]
        result = evaluation.evaluate(model, split, data.Preprocessing((SIDE, SIDE)), names)
    assert result.examples == maps
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--maps", type=int, default=500)
    parser.add_argument("--evaluate", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.evaluate:
        evaluate_maps(arguments.evaluate)
        return
    row = measure_pipelines(arguments.rounds)
    done = subprocess.run(
        [sys.executable, __file__, "--evaluate", str(arguments.maps)], check=True, capture_output=True, text=True
    )
    row[f"peak MB, evaluation of {arguments.maps} maps of {SIDE}x{SIDE}x{CLASSES}"] = round(float(done.stdout))
    print(f"evaluation of {arguments.maps} maps: {float(done.stdout):,.0f} MB at its peak")
    common.write("masks", [row])


if __name__ == "__main__":
    main()
