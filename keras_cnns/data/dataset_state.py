"""Where training data stands, so that it can go on there, and how long one waits for it."""

import tensorflow as tf


class Position:
    """Epoch and step from which a data set starts when it is iterated next; each start moves on to the next epoch.

    Not while it `stays`: then it is where it was last assigned to be, for iterators that may start late, and of which
    some are made in vain.

    The images and their order in an epoch follow from the seed and the epoch's number alone, so that a training that
    is taken up in the middle sees what it would have seen.
    """

    def __init__(self):
        with tf.device("CPU"):
            self._place = tf.Variable([0, 0], dtype=tf.int64, trainable=False)
            self._moves = tf.Variable(True, trainable=False)

    def assign(self, epoch, step=0):
        """Let the next iteration be epoch number `epoch`, counted from 0, without its first `step` batches."""
        self._place.assign([epoch, step])

    def stay(self, stays=True):
        """Let starts not move on, or do so again."""
        self._moves.assign(not stays)

    def epochs(self, of_epoch):
        """Return a `tf.data.Dataset` that is `of_epoch(epoch, step)` for the epoch and step of each iteration.

        Args:
            of_epoch: function of two int64 tensors that returns a `tf.data.Dataset`.
        """

        def start(_):
            # The graph's own seed, or a global one of 0 is compared with ours, which here is a tensor
            tf.random.set_seed(1)
            place = self._place.read_value()

            def move():
                with tf.control_dependencies([place]):
                    moved = self._place.assign(tf.stack([place[0] + 1, tf.zeros((), tf.int64)]))
                with tf.control_dependencies([moved]):
                    return tf.constant(True)

            with tf.control_dependencies([tf.cond(self._moves, move, lambda: tf.constant(False))]):
                place = tf.identity(place)
            # Not tf.unstack, whose second result as the count of a `skip` crashes tf.data's optimizer
            return of_epoch(place[0], place[1])

        return tf.data.Dataset.from_tensors(0).flat_map(start)


def seed_of(seed, epoch):
    """Return the seed of an epoch, an int64 tensor, from that of the training, a whole number below 2 ** 32."""
    pair = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
    return tf.random.stateless_uniform((), pair, 1, 2**31 - 1, tf.int64)


def watched(data):
    """Return (the same data, function that returns the seconds which have been spent waiting for it so far, or None).

    Waiting is what the consumer does between asking for an element and having it: with elements at hand next to
    nothing, and the share of it in a training's time says whether input holds the training up.

    Args:
        data: `tf.data.Dataset`.
    """
    try:
        tf.timestamp()
    except tf.errors.FailedPreconditionError:  # with deterministic operations TensorFlow has no clock
        return data, None
    with tf.device("CPU"):
        spent = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    def note(asked, element):
        with tf.control_dependencies([spent.assign_add(tf.timestamp() - asked)]):
            return tf.nest.map_structure(tf.identity, element)

    # `zip` asks its parts one after the other, and the clock first
    clock = tf.data.Dataset.counter().map(lambda _: tf.timestamp())
    timed = tf.data.Dataset.zip(clock, data).map(note)
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # or elements are asked for before they are needed
    return of_length(timed.with_options(options), data.cardinality()), lambda: float(spent.numpy())


def of_length(data, batches):
    """Return a `tf.data.Dataset` that says it has so many batches, even if a pass that starts in its middle has fewer.

    Keras asks once, and its `fit` takes fewer; TensorFlow's own `assert_cardinality` would not.
    """
    data.cardinality = lambda: tf.convert_to_tensor(batches, tf.int64)
    return data
