"""Helpers of the tests of keras_cnns.analysis."""

import keras
import numpy as np


def random_images(count, *shape, seed=0):
    """Return float32 images (count, *shape) of normally distributed values."""
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def random_pixels(count, *shape, seed=0):
    """Return uint8 images (count, *shape)."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype="uint8")


def images_for(model, count=3, side=24):
    """Return random images for a model; open sizes become `side`."""
    _, height, width, channels = model.inputs[0].shape
    return random_images(count, height or side, width or side, channels)


def peaks_in_boxes(maps, boxes):
    """Return the share of images whose map is largest inside the box."""
    rows, columns = np.unravel_index(maps.reshape(len(maps), -1).argmax(axis=1), maps.shape[1:])
    top, left, bottom, right = boxes.T
    return np.mean((top <= rows) & (rows < bottom) & (left <= columns) & (columns < right))


class SubclassedModel(keras.Model):
    """A model without a graph of layers."""

    def call(self, inputs):
        return inputs
