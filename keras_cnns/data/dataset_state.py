"""The position of a dataset, and the time spent waiting for it."""

from collections.abc import Callable

import tensorflow as tf


class Position:
    """Epoch and step at which the next iteration of a dataset starts.

    The images of an epoch and their order follow from the seed and the epoch number alone. A training run that is
    resumed in the middle of an epoch therefore sees the images that it would have seen.

    Each iteration moves the position to the start of the next epoch. After `stay()` the position remains where it was
    last assigned, for iterators that may start late or are made and never used.

    Examples:
        >>> from keras_cnns import data
        >>> split, position = data.open_source("digits").split("train"), data.Position()
        >>> batches = data.make_dataset(split, data.Preprocessing((32, 32), 1), 32, shuffle=True, position=position)
        >>> position.assign(epoch=3, step=40)
        >>> len(list(batches))  # the rest of this epoch's 45 batches
        5
    """

    def __init__(self):
        with tf.device("CPU"):
            self._place = tf.Variable([0, 0], dtype=tf.int64, trainable=False)
            self._moves = tf.Variable(True, trainable=False)

    def assign(self, epoch: int, step: int = 0) -> None:
        """Set where the next iteration starts.

        Args:
            epoch: number of the epoch, from 0.
            step: number of batches to skip at its start.
        """
        self._place.assign([epoch, step])

    def stay(self, stays: bool = True) -> None:
        """Choose whether iterations leave the position as it is.

        Args:
            stays: True: only `assign` moves the position. False: each iteration moves it to the next epoch.
        """
        self._moves.assign(not stays)

    def epochs(self, of_epoch: Callable[[tf.Tensor, tf.Tensor], tf.data.Dataset]) -> tf.data.Dataset:
        """Return a dataset that starts each iteration at the position.

        Args:
            of_epoch: function (epoch, step) of two int64 tensors that returns the `tf.data.Dataset` of this epoch from
                this step on.
        """

        def start(_):
            # Without a graph seed, tf.data takes the global one and compares it with ours, which is a tensor here
            tf.random.set_seed(1)
            place = self._place.read_value()

            def move():
                with tf.control_dependencies([place]):
                    moved = self._place.assign(tf.stack([place[0] + 1, tf.zeros((), tf.int64)]))
                with tf.control_dependencies([moved]):
                    return tf.constant(True)

            with tf.control_dependencies([tf.cond(self._moves, move, lambda: tf.constant(False))]):
                place = tf.identity(place)
            # Not tf.unstack: its second result as the count of a `skip` crashes the optimizer of tf.data
            return of_epoch(place[0], place[1])

        return tf.data.Dataset.from_tensors(0).flat_map(start)


def epoch_seed(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Return the seed of an epoch, an int64 tensor.

    Args:
        seed: seed of the training run, a whole number below 2 ** 32.
        epoch: number of the epoch, from 0.
    """
    pair = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
    return tf.random.stateless_uniform((), pair, 1, 2**31 - 1, tf.int64)


def measure_waiting(data: tf.data.Dataset) -> tuple[tf.data.Dataset, Callable[[], float] | None]:
    """Measure how long the consumer of a dataset waits for its elements.

    Waiting is the time between asking for an element and having it, which is almost nothing if elements are ready. Its
    share of the training time says whether input slows the training down.

    Args:
        data: `tf.data.Dataset`.

    Returns:
        The same data, and a function that returns the seconds waited so far. The second is None with deterministic
        operations, since TensorFlow then has no clock.
    """
    try:
        tf.timestamp()
    except tf.errors.FailedPreconditionError:
        return data, None
    with tf.device("CPU"):
        spent = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    def note(asked, element):
        with tf.control_dependencies([spent.assign_add(tf.timestamp() - asked)]):
            return tf.nest.map_structure(tf.identity, element)

    # `zip` asks its datasets one after the other, and the clock first
    clock = tf.data.Dataset.counter().map(lambda _: tf.timestamp())
    timed = tf.data.Dataset.zip(clock, data).map(note)
    options = tf.data.Options()
    # A prefetch after this point would ask for elements before the consumer needs them
    options.experimental_optimization.inject_prefetch = False
    return with_length(timed.with_options(options), data.cardinality()), lambda: float(spent.numpy())


def with_length(data: tf.data.Dataset, batches: int | tf.Tensor) -> tf.data.Dataset:
    """Set the length that a dataset reports, even for shorter passes.

    A pass that starts in the middle of an epoch has fewer batches. Keras asks for the length once, and its `fit`
    accepts fewer; the `assert_cardinality` of TensorFlow would not.

    Args:
        data: `tf.data.Dataset`, which is changed.
        batches: number of batches of a whole pass.
    """
    data.cardinality = lambda: tf.convert_to_tensor(batches, tf.int64)
    return data
