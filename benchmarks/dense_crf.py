"""Speed and memory of `layers.DenseCRF`, compared with NumPy.

    python benchmarks/dense_crf.py [--size 64] [--rounds 3]

NumPy computes the same sums pixel by pixel: one row of both kernels at a time, over all pixels at once.
"""

import argparse
import os
import resource

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import common
import numpy as np
import tensorflow as tf

from keras_cnns import layers

CLASSES, ITERATIONS = 21, 5


def numpy_mean_field(scores: np.ndarray, image: np.ndarray, layer: layers.DenseCRF) -> np.ndarray:
    """Return the refined scores of one image, (height, width, classes)."""
    height, width, classes = scores.shape
    positions = np.stack(np.mgrid[:height, :width], -1).reshape(-1, 2).astype("float32")
    colors, unary = image.reshape(-1, 3) / layer.color_std, scores.reshape(-1, classes)
    spatial, bilateral, compatibility = layer.get_weights()
    refined = unary
    for _ in range(layer.iterations):
        powers = np.exp(refined - refined.max(-1, keepdims=True))
        probabilities = powers / powers.sum(-1, keepdims=True)
        messages = np.empty_like(unary)
        for k in range(len(unary)):
            distance = ((positions - positions[k]) ** 2).sum(-1)
            near = np.exp(-distance / (2 * layer.spatial_std**2))
            color_distance = ((colors - colors[k]) ** 2).sum(-1)
            alike = np.exp(-distance / (2 * layer.position_std**2) - color_distance / 2)
            messages[k] = near @ probabilities / near.sum() @ spatial + alike @ probabilities / alike.sum() @ bilateral
        refined = unary - messages @ compatibility
    return refined.reshape(scores.shape)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    random = np.random.default_rng(0)
    shape = (arguments.size, arguments.size)
    scores = random.normal(size=(1, *shape, CLASSES)).astype("float32")
    images = random.integers(0, 256, (1, *shape, 3)).astype("float32")
    layer = layers.DenseCRF(ITERATIONS)
    compiled = tf.function(lambda scores, images: layer([scores, images]))
    layer([scores[:, :8, :8], images[:, :8, :8]])  # builds the layer, and loads the kernels
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refined = compiled(scores, images).numpy()
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    np.testing.assert_allclose(refined[0], numpy_mean_field(scores[0], images[0], layer), rtol=1e-3, atol=1e-3)

    functions = {
        "ours": lambda: compiled(scores, images).numpy(),
        "numpy": lambda: numpy_mean_field(scores[0], images[0], layer),
    }
    times = common.interleave(functions, arguments.rounds)
    case = f"DenseCRF, {arguments.size}x{arguments.size}, {CLASSES} classes, {ITERATIONS} iterations"
    row = common.row(case, times, "ours", "numpy", 5.0)
    row["peak MB of the first call"] = round(megabytes)
    print(f"memory of the first call: {megabytes:.0f} MB; one kernel: {4 * (shape[0] * shape[1]) ** 2 / 2**20:.0f} MiB")
    common.write("dense_crf", [row])


if __name__ == "__main__":
    main()
