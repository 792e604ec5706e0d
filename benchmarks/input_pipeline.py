"""Images a second into a training step, beside the pipeline one writes first; and the wait for the first batch.

    python benchmarks/input_pipeline.py [--rounds 7] [--folder PHOTOGRAPHS]

JPEG at 224 pixels, batch 64, shuffled, random crops, mirrored: whole decode, then crop, then resize, beside
`make_dataset`; both normalize, or `make_dataset` leaves that to the step and gives uint8. 32-pixel images from
memory, batch 128: a map over images beside one over batches. A folder of 100,000 small files: from `open_source` to
the first training batch, in a process of its own.

PHOTOGRAPHS is a folder of class folders of JPEG files, or of train/ and test/; without it 256 files of 500x375 pixels
and 64 of 1000x750 are made.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # input is the processor's work

import common
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_cnns.data import Preprocessing, make_dataset, open_source
from keras_cnns.data.splits import ArraySplit

LARGE = Preprocessing((224, 224), shorter_side=256, mean=(124.0, 117.0, 104.0), scale=(0.017,))
SMALL = Preprocessing((32, 32), mean=(124.0, 117.0, 104.0), scale=(0.017,))
FILES = 100_000
PASS = 1024  # images of 224 pixels
FIRST_BATCH = """
import json, sys, time
start = time.perf_counter()
from keras_cnns.data import Preprocessing, make_dataset, open_source
record = Preprocessing((32, 32))
imported = time.perf_counter()
data = make_dataset(open_source(sys.argv[1]).split("train"), record, 128, shuffle=True, augmentation="crop-flip")
images, labels = next(iter(data))
done = time.perf_counter()
assert images.shape == (128, 32, 32, 3) and len(set(labels.numpy().tolist())) == 10
# Not getrusage's maximum, which a process inherits from the one that started it
memory = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"imports": imported - start, "seconds": done - imported, "bytes": memory}))
"""


def photographs(folder, count, width, height):
    """Write images with about the bytes a pixel that photographs have."""
    random = np.random.default_rng(0)
    for k in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype="uint8"))
        pixels = np.asarray(coarse.resize((width, height), Image.BICUBIC)).astype("int16")
        pixels += random.integers(-12, 13, (height, width, 1), dtype="int16")
        path = folder / "ab"[k % 2] / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(path, quality=85)
    return folder


def read_all(data):
    """Return a function that reads one pass."""

    def read():
        for _ in data:
            pass

    return read


def pipeline(split, image, batch):
    """Return what one writes first: a map over images, in parallel, then batches."""
    data = tf.data.Dataset.from_tensor_slices((split.items, split.labels)).shuffle(split.examples)
    return data.map(image, num_parallel_calls=tf.data.AUTOTUNE).batch(batch).prefetch(tf.data.AUTOTUNE)


def resize_crop_flip(path, label):
    image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    image = tf.image.resize(image, tf.cast(tf.round(sides * 256 / tf.reduce_min(sides)), tf.int32))
    image = tf.image.random_flip_left_right(tf.image.random_crop(image, LARGE.shape))
    return LARGE.normalize(image), label


def area_crop_flip(path, label):
    image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros((1, 0, 4)),
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    image = tf.image.resize(tf.slice(image, begin, size), LARGE.size)
    return LARGE.normalize(tf.image.random_flip_left_right(image)), label


def pad_crop_flip(image, label):
    image = tf.image.random_crop(tf.pad(image, [(4, 4), (4, 4), (0, 0)]), SMALL.shape)
    return SMALL.normalize(tf.cast(tf.image.random_flip_left_right(image), tf.float32)), label


def compare(case, goal, rounds, split, record, batch, image, augmentation, normalize=True):
    ours = make_dataset(split, record, batch, shuffle=True, augmentation=augmentation, normalize=normalize)
    functions = {"make_dataset": read_all(ours), "naive": read_all(pipeline(split, image, batch))}
    times = common.interleave(functions, rounds)
    line = common.row(case, times, "make_dataset", "naive", goal)
    rate = {name: round(split.examples / seconds) for name, seconds in line["seconds"].items()}
    return {**line, "images a second": rate}


def first_batch(rounds, folder):
    """Return a line of the table: seconds and peak memory until the first batch of a folder of many files."""
    random = np.random.default_rng(0)
    for label in range(10):
        (folder / f"class{label}").mkdir()
    content = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype="uint8")).save(content, "JPEG")
    for k in range(FILES):
        (folder / f"class{k % 10}" / f"{k:06}.jpg").write_bytes(content.getvalue())
    found = []
    for _ in range(rounds):
        command = [sys.executable, "-c", FIRST_BATCH, str(folder)]
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    seconds = {name: round(statistics.median(one[name] for one in found), 3) for name in ("imports", "seconds")}
    line = {
        "case": f"first batch of {FILES:,} files",
        "seconds": seconds["seconds"],
        "imports before that": seconds["imports"],
        "each round": [round(one["seconds"], 3) for one in found],
        "peak memory, MB": round(max(one["bytes"] for one in found) / 1e6),
        "goal": "under 5 s and 1,000 MB",
    }
    print(f"{line['case']:<40} {line['seconds']:>6.2f} s, {line['peak memory, MB']} MB (goal {line['goal']})")
    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="photographs, JPEG files in class folders")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.folder:
            folders = {"photographs": arguments.folder}
        else:
            folders = {
                f"{width}x{height}": photographs(Path(temporary) / str(width), count, width, height)
                for count, width, height in ((256, 500, 375), (64, 1000, 750))
            }
        for name, folder in folders.items():
            split = open_source(folder).split("train")
            split = split.take(np.resize(np.arange(split.examples), PASS))  # start and end of a pass should not count
            for case, image, augmentation in (
                ("area and aspect", area_crop_flip, "inception-crop"),
                ("resize and crop", resize_crop_flip, "crop-flip"),
            ):
                for out, normalize in (("uint8", False), ("normalized", True)):
                    title = f"{name}, {case}, {out}"
                    rows.append(
                        compare(title, 1.25, arguments.rounds, split, LARGE, 64, image, augmentation, normalize)
                    )
    images = np.random.default_rng(0).integers(0, 256, (20_000, 32, 32, 3), dtype="uint8")
    split = ArraySplit(images, np.arange(20_000) % 10)
    rows.append(
        compare("32 px, pad-crop-flip", 3.0, arguments.rounds, split, SMALL, 128, pad_crop_flip, "pad-crop-flip")
    )
    with tempfile.TemporaryDirectory() as temporary:
        rows.append(first_batch(3, Path(temporary)))
    common.write("input_pipeline", rows)


if __name__ == "__main__":
    main()
