"""Splits of image files, which are read when they are needed."""

import collections
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from keras_cnns.data._tf_data import PARALLEL
from keras_cnns.data.image_decoder import ChooseWindow, FinishWindow
from keras_cnns.data.image_files import (
    DIVISORS,
    Window,
    decode_jpeg,
    plan_window,
    read_file,
    read_image,
    read_window,
    warn_if_damaged,
)
from keras_cnns.data.masks import file_of
from keras_cnns.data.splits import LabeledSplit
from keras_cnns.data.targets import Target, Targets
from keras_cnns.errors import SourceError
from keras_cnns.typing import Size

CHUNK = 16  # files whose headers are read in one call
NOWHERE = np.zeros(6, "int32")  # the place of the window of an image that is read whole
PASSED_ON = 1 << 19  # bytes of a JPEG that is not read again; many wait in a pipeline
RECENT = 1000  # decoded paths that are remembered; more than a pipeline reads ahead


class FileSplit(LabeledSplit):
    """Image files, which are read when they are needed.

    Args:
        items: array of paths, of dtype object.
        labels: one whole number per file; another target if `target` says so.
        target: the kind of target.
    """

    def __init__(self, items: NDArray[np.object_], labels: Targets, target: Target = LabeledSplit.target):
        super().__init__(items, labels, target)
        self.decoding: collections.deque[str] = collections.deque(maxlen=RECENT)
        self.reading: collections.deque[str] = collections.deque(maxlen=RECENT)  # names of targets

    @classmethod
    def from_paths(cls, paths: Sequence[str], labels: ArrayLike) -> Self:
        """Return the split of a list of paths."""
        # A NumPy array of strings would give every path the room of the longest
        return cls(np.array(paths, dtype=object), labels)

    def keys(self) -> list[str]:
        """Return class folder and file name of each file, as `LabeledSplit.keys`."""
        return _short(self.items)

    def shuffler(self) -> Callable[[int | tf.Tensor], tf.data.Dataset]:
        """Return a function from seed to shuffled dataset, as `Split.shuffler`.

        The buffer holds all paths, as they are short.
        """
        elements = self.elements()
        return lambda seed: elements.shuffle(self.examples, seed=seed, reshuffle_each_iteration=True)

    def read_ahead(self, elements: tf.data.Dataset) -> tf.data.Dataset:
        """Return elements with the contents of their targets, as `Split.read_ahead`."""
        if not self.has_files:
            return elements
        # Several files per call, as in `windows`
        chunks = elements.batch(CHUNK)
        return chunks.map(lambda paths, names: (paths, self._with_contents(names)), **PARALLEL).unbatch()

    def _with_contents(self, targets: tf.Tensor) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
        """Return targets, and if they are names of files, their contents too."""
        if not self.has_files:
            return targets

        def contents(names):
            names = [name.decode() for name in names.tolist()]
            self.reading.extend(names)
            return np.array([self.target.content(name) for name in names], object)

        return targets, tf.ensure_shape(tf.numpy_function(contents, [targets], tf.string, stateful=False), (None,))

    def has_target(self, element: tf.Tensor, target: tf.Tensor, size: tf.Tensor) -> bool | tf.Tensor:
        """Return whether the file of a target can be read, as `Split.has_target`."""
        if not self.has_files:
            return True

        def read(path, name, size):
            height, width = size.tolist()
            if error := self.target.fault(name.decode(), (height, width)):
                self.skipped[path.decode()] = error
            return error is None

        return tf.ensure_shape(tf.numpy_function(read, [element, target, size], tf.bool, stateful=False), ())

    def decode(self, element: tf.Tensor, channels: int, skip_broken: bool = False) -> tf.Tensor:
        """Return the image at a path, as `ImageDecoder.decode`.

        The error of a file that cannot be read is noted in `faults`.
        """
        image, _ = self._read(lambda path: (read_window(path, channels), NOWHERE), [element], channels, skip_broken)
        return image

    def windows(
        self,
        elements: tf.data.Dataset,
        channels: int,
        choose: ChooseWindow,
        size: Size,
        finish: FinishWindow,
        skip_broken: bool = False,
    ) -> tf.data.Dataset:
        """Return a dataset of finished windows, as `ImageDecoder.windows`.

        A plain JPEG is decoded inside its window only.
        """

        def read_in_python(path, draws):
            def read(path, draws):
                chosen = _Chosen(choose, draws.tolist())
                return read_window(path, channels, chosen, size), chosen.place

            return self._read(read, [path, draws], channels, skip_broken)

        if skip_broken:  # only Python code can note which image was broken
            images = elements.map(lambda path, *rest: (path, *read_in_python(path, rest[-1]), *rest), **PARALLEL)
            images = images.filter(lambda path, pixels, *_: tf.size(pixels) > 0)
            images = images.filter(lambda path, pixels, place, target, _: self.has_target(path, target, place[4:]))
            return images.map(lambda path, image, place, target, draws: finish(image, target, draws, place), **PARALLEL)

        def plan(paths, draws):
            return self._plan_windows(paths, draws, channels, choose, size)

        def planned(paths, targets, draws):
            types = (tf.string, tf.int32, tf.int32, tf.int32)
            contents, ways, reduced, places = tf.numpy_function(plan, [paths, draws], types)
            contents, ways = tf.ensure_shape(contents, (None,)), tf.ensure_shape(ways, (None,))
            reduced, places = tf.ensure_shape(reduced, (None, 4)), tf.ensure_shape(places, (None, 6))
            return paths, self._with_contents(targets), draws, contents, ways, reduced, places

        def decode(path, target, draws, content, way, reduced, place):
            def decoder_in_graph(divisor):
                def decode():
                    jpeg = tf.cond(tf.strings.length(content) > 0, lambda: content, lambda: tf.io.read_file(path))
                    return decode_jpeg(jpeg, reduced, channels, divisor), place

                return decode

            decoders = [lambda: read_in_python(path, draws), *map(decoder_in_graph, DIVISORS[1:])]
            pixels, place = tf.switch_case(way, decoders)
            return finish(tf.ensure_shape(pixels, (None, None, channels)), target, draws, place)

        # Several files per call: calling Python from a pipeline costs more than planning one file
        return elements.batch(CHUNK).map(planned, **PARALLEL).unbatch().map(decode, **PARALLEL)

    def _plan_windows(
        self,
        paths: NDArray[np.object_],
        draws: NDArray[np.float32],
        channels: int,
        choose: ChooseWindow,
        size: Size,
    ) -> tuple[NDArray[np.object_], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Return how to decode each file.

        Returns:
            (array (files,) of their contents, empty for those that are read again; int32 array (files,) of indices in
            `DIVISORS`; int32 array (files, 4) of windows at the reduced size; int32 array (files, 6) of their places in
            the image).
        """
        contents, ways, reduced, places = [], [], [], []
        for path, row in zip(paths.tolist(), draws.tolist(), strict=True):
            file = path.decode()
            content = read_file(file)
            warn_if_damaged(file, content)
            chosen = _Chosen(choose, row)
            divisor, part = plan_window(content, channels, chosen, size)
            contents.append(content if divisor and len(content) <= PASSED_ON else b"")
            ways.append(DIVISORS.index(divisor))
            reduced.append(part)
            places.append(chosen.place)
            self.decoding.append(file)
        numbers = np.array(ways, "int32"), np.array(reduced, "int32"), np.array(places, "int32")
        return np.array(contents, object), *numbers

    def fault(self, error: Exception) -> SourceError | None:
        """Return the error that names the file, as `Split.fault`.

        If TensorFlow failed to decode an image, the recently decoded files are read again to find it.
        """
        if self.faults:
            return self.faults[0]
        if not isinstance(error, tf.errors.OpError):
            return None
        for path in tuple(self.decoding):  # a copy, as the pipeline's threads may still add to it
            try:
                read_image(path)
                content = read_file(path)
                divisor, reduced = plan_window(content, 3)
                if divisor:
                    decode_jpeg(content, reduced, 3, divisor)
            except SourceError as fault:
                return fault
            except tf.errors.InvalidArgumentError:
                return SourceError(f"{path}: is a JPEG that TensorFlow cannot decode. Save it again as PNG.")
        return next(filter(None, map(self.target.fault, tuple(self.reading))), None)

    def _read(
        self,
        function: Callable[..., tuple[NDArray[np.uint8], NDArray[np.int32]]],
        inputs: list[Any],
        channels: int,
        skip_broken: bool,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return image and place that `function` reads, inside a map.

        Args:
            function: from a path and the further inputs to uint8 pixels (height, width, channels) and int32 (6,).
            inputs: tensors; the first one is the path.
            channels: 1 (gray) or 3 (RGB).
            skip_broken: as for `ImageDecoder.decode`.
        """

        def read(path, *further):
            try:
                return function(path.decode(), *further)
            except SourceError as error:
                if skip_broken:
                    self.skipped[path.decode()] = error
                    return np.zeros((0, 1, channels), "uint8"), NOWHERE
                self.faults.append(error)
                raise

        image, place = tf.numpy_function(read, inputs, (tf.uint8, tf.int32), stateful=False)
        return tf.ensure_shape(image, (None, None, channels)), tf.ensure_shape(place, (6,))

    def fingerprint(self) -> bytes:
        """Return a digest of labels and names, as `Split.fingerprint`."""
        if self.has_files:
            return hashlib.sha256(repr([self.keys(), _short(self.targets)]).encode()).digest()
        return self._digest(repr(self.keys()).encode())

    def _partition_order(self, label: int) -> str:
        """Return the class name.

        Classes were once numbered in the order of their names as text. Divisions recorded then must give the same
        parts today.
        """
        return str(label) if not self.class_names or label < 0 else self.class_names[label]

    def _class_of(self, label: int) -> str:
        """Return the name of a class in an error, with its folder."""
        place = int(np.flatnonzero(self.labels == label)[0])
        return f"{super()._class_of(label)} ({os.path.dirname(self.items[place])})"

    def _contents(self) -> bytes:
        """Return path, size and time of each file.

        They change when a file changes, and no file is read.
        """

        def stamp(path):
            try:
                status = os.stat(path)
            except OSError:
                return (path, None, None)
            return (path, status.st_size, status.st_mtime_ns)

        files = self.items.tolist()
        if self.has_files:
            files += map(file_of, self.targets)
        return repr([stamp(str(path)) for path in files]).encode()


def _short(paths: NDArray[np.object_]) -> list[str]:
    """Return folder and file name of each path."""
    return ["/".join(path.rsplit(os.sep, 2)[-2:]) for path in paths]


class _Chosen:
    """Choose a window, and remember where it is.

    Attributes:
        place: int32 (6,): the window, and height and width of the image; zeros as long as none is chosen.
    """

    def __init__(self, choose: ChooseWindow, draws: Sequence[float]):
        self.choose, self.draws, self.place = choose, draws, NOWHERE

    def __call__(self, height: int, width: int) -> Window:
        window = self.choose(height, width, self.draws)
        self.place = np.array([*window, height, width], "int32")
        return window
