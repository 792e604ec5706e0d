"""Images as files: read when they are needed, and named when they cannot be."""

import collections
import os

import numpy as np
import tensorflow as tf

from keras_cnns.data.image_files import (
    DIVISORS,
    decode_jpeg,
    plan_window,
    read_file,
    read_image,
    read_window,
    warn_if_damaged,
)
from keras_cnns.data.splits import PARALLEL, LabeledSplit
from keras_cnns.errors import SourceError

CHUNK = 16  # files whose headers are read in one call


class FileSplit(LabeledSplit):
    """Image files, read when they are needed."""

    def __init__(self, items, labels):
        super().__init__(items, labels)
        self.decoding = collections.deque(maxlen=1000)  # paths; more than a pipeline reads ahead

    def keys(self):
        """As `LabeledSplit.keys`: class folder and file name, wherever the whole lies."""
        return ["/".join(file.rsplit(os.sep, 2)[-2:]) for file in self.items]

    def shuffler(self):
        """As `Split.shuffler`, all of them: paths are short."""
        elements = self.elements()
        return lambda seed: elements.shuffle(self.examples, seed=seed, reshuffle_each_iteration=True)

    def decode(self, element, channels, skip_broken=False):
        """As `Split.decode`; a file that cannot be read is noted in `faults`."""
        return self._read(lambda path: read_window(path, channels), [element], channels, skip_broken)

    def windows(self, elements, channels, choose, size, finish, skip_broken=False):
        """As `Split.windows`; of a plain JPEG nothing but the part is decoded."""

        def in_python(path, draws):
            def read(path, draws):
                draws = draws.tolist()
                return read_window(path, channels, lambda height, width: choose(height, width, draws), size)

            return self._read(read, [path, draws], channels, skip_broken)

        if skip_broken:  # only Python knows which image it was
            found = elements.map(lambda path, label, draws: (in_python(path, draws), label, draws), **PARALLEL)
            return found.filter(lambda pixels, label, draws: tf.size(pixels) > 0).map(finish, **PARALLEL)

        def plan(paths, draws):
            ways, windows = [], []
            for path, row in zip(paths.tolist(), draws.tolist(), strict=True):
                content = read_file(path)
                warn_if_damaged(path.decode(), content)
                divisor, window = plan_window(
                    content, channels, lambda height, width, row=row: choose(height, width, row), size
                )
                ways.append(DIVISORS.index(divisor))
                windows.append(window)
                self.decoding.append(path.decode())
            return np.array(ways, "int32"), np.array(windows, "int32")

        def planned(paths, labels, draws):
            ways, windows = tf.numpy_function(plan, [paths, draws], (tf.int32, tf.int32))
            return paths, labels, draws, tf.ensure_shape(ways, (None,)), tf.ensure_shape(windows, (None, 4))

        def decode(path, label, draws, way, window):
            def in_graph(divisor):
                return lambda: decode_jpeg(tf.io.read_file(path), window, channels, divisor)

            ways = [lambda: in_python(path, draws), *map(in_graph, DIVISORS[1:])]
            return finish(tf.ensure_shape(tf.switch_case(way, ways), (None, None, channels)), label, draws)

        # Some files a call, as a call of Python from a pipeline takes longer than what is done in it for one
        return elements.batch(CHUNK).map(planned, **PARALLEL).unbatch().map(decode, **PARALLEL)

    def fault(self, error):
        """As `Split.fault`; or of an image that TensorFlow was decoding lately and cannot read."""
        if self.faults:
            return self.faults[0]
        if not isinstance(error, tf.errors.OpError):
            return None
        for path in tuple(self.decoding):  # the pipeline's threads may still be adding to it
            try:
                read_image(path)
                content = read_file(path)
                divisor, window = plan_window(content, 3)
                if divisor:
                    decode_jpeg(content, window, 3, divisor)
            except SourceError as error:
                return error
            except tf.errors.InvalidArgumentError:
                return SourceError(f"{path}: is a JPEG that TensorFlow cannot decode. Save it anew as PNG.")
        return None

    def _read(self, function, inputs, channels, skip_broken):
        """Return the image that `function` reads from a path and further inputs, inside a tf.data map."""

        def read(path, *more):
            try:
                return function(path.decode(), *more)
            except SourceError as error:
                if skip_broken:
                    self.skipped[path.decode()] = error
                    return np.zeros((0, 1, channels), "uint8")
                self.faults.append(error)
                raise

        image = tf.numpy_function(read, inputs, tf.uint8, stateful=False)
        image.set_shape((None, None, channels))
        return image

    def fingerprint(self):
        """As `Split.fingerprint`: labels and names."""
        return self._digest(repr(self.keys()).encode())

    def _turn(self, label):
        """As text: folders were once numbered in this order, and a recorded division must give the same parts."""
        return str(label) if self.class_names is None or label < 0 else self.class_names[label]

    def _class_of(self, label):
        """Return what an error calls a class, with its folder."""
        place = int(np.flatnonzero(self.labels == label)[0])
        return f"{super()._class_of(label)} ({os.path.dirname(self.items[place])})"

    def _contents(self):
        """Return what tells that a file has changed, without reading it."""

        def stamp(path):
            try:
                found = os.stat(path)
            except OSError:
                return (path, None, None)
            return (path, found.st_size, found.st_mtime_ns)

        return repr([stamp(str(path)) for path in self.items]).encode()
