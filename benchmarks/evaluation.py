"""Speed of the evaluation protocols and of an occlusion map.

    python benchmarks/evaluation.py [--rounds 5]

- Ten crops of AlexNet, compared with ten forward passes over as many images that are ready in memory (goal: at most 1.1
  times as long, so at least 0.91 times as fast).
- Dense VGG-11 on an image of 384 pixels, compared with all 6x6 windows of 224 pixels that its map covers (goal: 5 times
  faster).
- The occlusion map of 15x15 positions of NiN at 32 pixels (goal: 3 seconds).
"""

import argparse
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import common
import numpy as np

from keras_cnns import analysis, applications, evaluation
from keras_cnns.data import Preprocessing
from keras_cnns.data.splits import ArraySplit


def ten_crop(rounds: int) -> dict[str, Any]:
    """Compare ten crops of 96 images with ten passes over prepared ones."""
    model = applications.AlexNet()
    record = Preprocessing((227, 227), shorter_side=256)
    images = np.random.default_rng(0).integers(0, 256, (96, 280, 320, 3), dtype="uint8")
    split = ArraySplit(images, np.zeros(96))
    ready = record.normalize(images[:, :227, :227].astype("float32"))
    functions = {
        "ten-crop": lambda: evaluation.predict_split(model, split, record, protocol="ten-crop", batch_size=80),
        "ten passes": lambda: [model.predict_on_batch(ready[k : k + 80]) for k in (0, 16) * 6],
    }
    times = common.interleave(functions, rounds)
    return common.row("AlexNet, ten crops of 96 images", times, "ten-crop", "ten passes", 0.91)


def dense(rounds: int) -> dict[str, Any]:
    """Compare the class map of a large image with its windows.

    The windows are 32 pixels apart.
    """
    model = applications.VGG11()
    dense = evaluation.dense_model(model)
    image = np.random.default_rng(0).normal(size=(1, 384, 384, 3)).astype("float32")
    places = range(0, 384 - 224 + 1, 32)
    windows = np.concatenate([image[:, top : top + 224, left : left + 224] for top in places for left in places])
    assert dense.predict_on_batch(image).shape[1:3] == (len(places), len(places))
    functions = {
        "dense": lambda: dense.predict_on_batch(image),
        "windows": lambda: [model.predict_on_batch(windows[k : k + 12]) for k in range(0, len(windows), 12)],
    }
    times = common.interleave(functions, rounds)
    return common.row("VGG-11 at 384 pixels", times, "dense", "windows", 5.0)


def occlusion(rounds: int) -> dict[str, Any]:
    """Compare 225 occluded images with 225 prepared images."""
    model = applications.NiN()
    image = np.random.default_rng(0).normal(size=(32, 32, 3)).astype("float32")
    ready = np.repeat(image[None], 225, 0)
    functions = {
        "occlusion map": lambda: analysis.occlusion_map(model, image[None], size=4, stride=2),
        "one pass": lambda: model.predict_on_batch(ready),
    }
    assert functions["occlusion map"]().scores.shape == (1, 15, 15)
    times = common.interleave(functions, rounds)
    return common.row("NiN, occlusion map of 15x15", times, "occlusion map", "one pass", "3 seconds")


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    common.write("evaluation", [measure(rounds) for measure in (ten_crop, dense, occlusion)])


if __name__ == "__main__":
    main()
