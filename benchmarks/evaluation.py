"""The protocols beside what they replace, and an occlusion map by the clock.

    python benchmarks/evaluation.py [--rounds 5]

Ten crops of AlexNet beside ten forward passes over the same number of images that are ready in memory (goal: at most
1.1 times as long, so at least 0.91 times as fast); dense VGG-11 on an image of 384 pixels beside all windows of 224
that its map stands for, 6x6 (goal: 5 times faster); the occlusion map of 15x15 positions of NiN at 32 pixels (goal: 3
seconds).
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import common
import numpy as np

from keras_cnns import analysis, applications, evaluation
from keras_cnns.data import Preprocessing
from keras_cnns.data.splits import ArraySplit


def ten_crop(rounds):
    """Ten crops of 96 images beside ten passes over 96 prepared ones."""
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


def dense(rounds):
    """The map of an image of 384 pixels beside the windows that it stands for, each 32 pixels on."""
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


def occlusion(rounds):
    """225 images with a window hidden beside 225 prepared ones."""
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    common.write("evaluation", [measure(rounds) for measure in (ten_crop, dense, occlusion)])


if __name__ == "__main__":
    main()
