"""Speed of the input pipeline, and the time until the first batch.

    python benchmarks/input_pipeline.py [--rounds 7] [--folder PHOTOGRAPHS] [--only jpeg] [--torch-python PYTHON]

`make_dataset` is compared with a naive tf.data pipeline, which maps over images and then makes batches, and on JPEG
files with PyTorch's DataLoader and torchvision's transforms v2 in two workers (torch_loader.py). PYTHON is the
interpreter that has torch and torchvision; without them that column is missing.

- JPEG files at 224 pixels, batch 64, shuffled, randomly cropped and mirrored. The naive pipeline decodes the whole
  image, then crops and resizes. Both normalize, or `make_dataset` outputs uint8 and leaves that to the training step.
- Images of 32 pixels in memory, batch 128.

Then the time from `open_source` to the first training batch is measured, for a folder of 100,000 small files, in a
separate process.

PHOTOGRAPHS is a folder of class folders of JPEG files, or of train/ and test/; without it 256 files of 500x375 pixels
and 64 of 1000x750 are made.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the input pipeline runs on the CPU

import common
import numpy as np
import processes
import tensorflow as tf
from PIL import Image

from keras_cnns.data import Preprocessing, make_dataset, open_source
from keras_cnns.data.splits import ArraySplit

LARGE = Preprocessing((224, 224), shorter_side=256, mean=(124.0, 117.0, 104.0), scale=(0.017,))
SMALL = Preprocessing((32, 32), mean=(124.0, 117.0, 104.0), scale=(0.017,))
TORCH_GOAL = 1.2
FILES = 100_000
PASS = 1024  # images of 224 pixels per pass
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


def photographs(folder: Path, count: int, width: int, height: int) -> Path:
    """Write random images with about as many bytes per pixel as photographs."""
    random = np.random.default_rng(0)
    for k in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype="uint8"))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype("int16")
        pixels += random.integers(-12, 13, (height, width, 1), dtype="int16")
        path = folder / "ab"[k % 2] / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(path, quality=85)
    return folder


def read_all(data: tf.data.Dataset) -> Callable[[], None]:
    """Return a function that reads one pass."""

    def read() -> None:
        for _ in data:
            pass

    return read


def naive(split: Any, function: Callable, batch: int) -> tf.data.Dataset:
    """Return a naive dataset, a parallel map over images followed by batches."""
    data = tf.data.Dataset.from_tensor_slices((split.items, split.labels)).shuffle(split.examples)
    return data.map(function, num_parallel_calls=tf.data.AUTOTUNE).batch(batch).prefetch(tf.data.AUTOTUNE)


def resize_crop_flip(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Resize a JPEG file, crop it randomly, and mirror it at random."""
    image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    image = tf.image.resize(image, tf.cast(tf.round(sides * 256 / tf.reduce_min(sides)), tf.int32))
    image = tf.image.random_flip_left_right(tf.image.random_crop(image, LARGE.shape))
    return LARGE.normalize(image), label


def area_crop_flip(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Crop a JPEG file with random area and aspect, and mirror it."""
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


def pad_crop_flip(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Pad a small image, crop it randomly, and mirror it at random."""
    image = tf.image.random_crop(tf.pad(image, [(4, 4), (4, 4), (0, 0)]), SMALL.shape)
    return SMALL.normalize(tf.cast(tf.image.random_flip_left_right(image), tf.float32)), label


@dataclasses.dataclass(frozen=True)
class Case:
    """Two pipelines to compare.

    Attributes:
        title: name of the row.
        goal: how many times faster `make_dataset` should be.
        split: images.
        record: their `Preprocessing`.
        batch: images per batch.
        function: map of the naive pipeline.
        augmentation: of `make_dataset`.
        normalize: whether `make_dataset` normalizes.
    """

    title: str
    goal: float
    split: Any
    record: Preprocessing
    batch: int
    function: Callable
    augmentation: str
    normalize: bool = True


class TorchLoader(processes.Process):
    """A process with a DataLoader of the same files; a call reads one pass.

    Args:
        python: interpreter that has torch and torchvision.
        case: what to read.
        decoder: "Pillow" or "torchvision".
    """

    def __init__(self, python: str, case: Case, decoder: str) -> None:
        super().__init__([os.fspath(Path(__file__).with_name("torch_loader.py"))], python=python)
        request: dict[str, Any] = {
            "files": [os.fspath(item) for item in case.split.items],
            "crop": "area" if case.function is area_crop_flip else "resize",
            "side": case.record.size[0],
            "shorter side": case.record.shorter_side,
            "normalize": case.normalize,
            "decoder": decoder,
            "batch": case.batch,
            "workers": 2,
        }
        self.count = len(request["files"])
        self.send(json.dumps(request))

    def __call__(self) -> None:
        """Read one pass."""
        self.send("")
        if (count := int(self.receive())) != self.count:
            raise RuntimeError(f"torch_loader.py read {count} of {self.count} images")


def torch_version(python: str) -> str:
    """Return the versions of torch and torchvision that an interpreter has; "" without them."""
    program = "import torch, torchvision; print(f'torch {torch.__version__}, torchvision {torchvision.__version__}')"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True)
    return done.stdout.strip()


def compare(case: Case, rounds: int, torch_python: str = "", torch: str = "") -> list[dict[str, Any]]:
    """Return the rows of a case.

    Args:
        case: what to compare.
        rounds: passes of each pipeline.
        torch_python: interpreter that has torch and torchvision; "": PyTorch is left out.
        torch: their versions.
    """
    ours = make_dataset(
        case.split,
        case.record,
        case.batch,
        shuffle=True,
        augmentation=case.augmentation,
        normalize=case.normalize,
    )
    naive_data = naive(case.split, case.function, case.batch)
    functions: dict[str, Callable[[], Any]] = {"make_dataset": read_all(ours), "naive": read_all(naive_data)}
    with contextlib.ExitStack() as stack:
        loaders = []
        if torch_python:
            for decoder in ("Pillow", "torchvision"):
                loaders.append(f"DataLoader, {decoder}")
                loader = functions[loaders[-1]] = TorchLoader(torch_python, case, decoder)
                stack.callback(loader.close)
        times = common.interleave(functions, rounds)
    rows = [common.row(case.title, times, "make_dataset", "naive", case.goal)]
    if loaders:
        fastest = min(loaders, key=lambda loader: statistics.median(times[loader]))
        row = common.row(f"{case.title}, beside PyTorch", times, "make_dataset", fastest, TORCH_GOAL)
        rows.append({**row, "PyTorch": torch})
    for row in rows:
        row["images a second"] = {
            name: round(case.split.examples / seconds) for name, seconds in row["seconds"].items()
        }
    return rows


def first_batch(rounds: int, folder: Path) -> dict[str, Any]:
    """Return the row of a folder of many files.

    It has the seconds and the peak memory until the first batch.
    """
    random = np.random.default_rng(0)
    for label in range(10):
        (folder / f"class{label}").mkdir()
    content = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype="uint8")).save(content, "JPEG")
    for k in range(FILES):
        (folder / f"class{k % 10}" / f"{k:06}.jpg").write_bytes(content.getvalue())
    runs = []
    for _ in range(rounds):
        command = [sys.executable, "-c", FIRST_BATCH, str(folder)]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    seconds = {name: round(statistics.median(run[name] for run in runs), 3) for name in ("imports", "seconds")}
    row = {
        "case": f"first batch of {FILES:,} files",
        "seconds": seconds["seconds"],
        "imports before that": seconds["imports"],
        "each round": [round(run["seconds"], 3) for run in runs],
        "peak memory, MB": round(max(run["bytes"] for run in runs) / 1e6),
        "goal": "under 5 s and 1,000 MB",
    }
    print(f"{row['case']:<40} {row['seconds']:>6.2f} s, {row['peak memory, MB']} MB (goal {row['goal']})")
    return row


def jpeg(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of JPEG files."""
    torch = torch_version(arguments.torch_python)
    if not torch:
        print(f"{arguments.torch_python} has no torch and torchvision: the DataLoader is left out")
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
            # Long, so that its start and end do not count
            split = split.take(np.resize(np.arange(split.examples), PASS))
            for label, function, augmentation in (
                ("area and aspect", area_crop_flip, "inception-crop"),
                ("resize and crop", resize_crop_flip, "crop-flip"),
            ):
                for out, normalize in (("uint8", False), ("normalized", True)):
                    title = f"{name}, {label}, {out}"
                    case = Case(title, 1.25, split, LARGE, 64, function, augmentation, normalize)
                    rows += compare(case, arguments.rounds, arguments.torch_python if torch else "", torch)
    return rows


def small(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the row of small images in memory."""
    images = np.random.default_rng(0).integers(0, 256, (20_000, 32, 32, 3), dtype="uint8")
    split = ArraySplit(images, np.arange(20_000) % 10)
    case = Case("32 px, pad-crop-flip", 3.0, split, SMALL, 128, pad_crop_flip, "pad-crop-flip")
    return compare(case, arguments.rounds)


def many_files(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the row of the first batch of many files."""
    with tempfile.TemporaryDirectory() as temporary:
        return [first_batch(3, Path(temporary))]


MEASURES = {"jpeg": jpeg, "small": small, "first-batch": many_files}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="photographs, JPEG files in class folders")
    parser.add_argument("--only", choices=MEASURES, action="append")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has torch and torchvision")
    arguments = parser.parse_args()
    rows = [row for name in arguments.only or MEASURES for row in MEASURES[name](arguments)]
    common.write("input_pipeline", rows, partial=bool(arguments.only))


if __name__ == "__main__":
    main()
