"""Which part of the images one of several processes reads, and batches that devices can divide among them."""

import dataclasses

import tensorflow as tf

from keras_cnns.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class Share:
    """One process's part of each batch, where several processes, each with as many devices, train together.

    A pass has the same number of batches in every process, and each image is read by one of them. Where the images
    do not come out even, some rows of the last batch are an image once more, and weights make up for it.

    Attributes:
        devices: in all processes.
        process: number of this one, from 0.
        processes: how many there are.
    """

    devices: int = 1
    process: int = 0
    processes: int = 1

    def batch_size(self, batch_size):
        """Return this process's part of a batch.

        Raises:
            ArgumentError: if the devices cannot share such a batch.
        """
        if batch_size % self.devices:
            below = batch_size // self.devices * self.devices
            near = f"{below} or {below + self.devices}" if below else str(self.devices)
            raise ArgumentError(
                f"{self.devices} devices share each batch, so that its size must be a multiple of that, as {near}. "
                f"Received: batch_size={batch_size}"
            )
        return batch_size // self.processes

    def of(self, split):
        """Return (the split that this process reads, function from a `tf.data.Dataset` of it to this process's part).

        Shards of a data set are divided by examples, so that a process opens its own files alone; of splits that any
        process can list each takes its turns, so that all batches have the images that they have in one process.
        """
        if self.processes == 1:
            return split, None
        each = -(-split.examples // self.processes)
        own = split.portion(self.process, self.processes)
        if own is not None:
            # A process with one image less takes one again
            return own, lambda data: data if own.examples == each else data.repeat().take(each)

        def turns(data):
            if split.examples % self.processes:
                data = data.repeat().take(each * self.processes)
            return data.shard(self.processes, self.process)

        return split, turns

    def fill(self, split, batch_size, counting=False):
        """Return a function that makes a batch divisible, for a tf.data map; None if all batches are.

        It takes (number of the batch in its pass, images, labels) and gives images, labels and weights, float32
        (batch,). Keras's mean of the weighted loss over the rows is then that of the images. Batch normalization
        alone sees the images that are there twice.

        Args:
            split: whose images are divided.
            batch_size: of all processes together.
            counting: whether weights are to count each image once, for a weighted mean over many batches, in place
                of making each batch's mean over the rows right.
        """
        if split.examples % self.devices == 0:
            return None
        part = batch_size // self.processes
        own = self._own(split)

        def fill(number, images, labels):
            here = tf.shape(images, tf.int64)[0]
            distinct = tf.minimum(tf.constant(batch_size, tf.int64), split.examples - number * batch_size)
            rows = -(-distinct // self.devices) * (self.devices // self.processes)
            place = tf.range(rows) % here
            real = tf.cast(number * part + place < own, tf.float32)
            times = tf.gather(tf.math.bincount(tf.cast(place, tf.int32), dtype=tf.float32), place)
            weight = real / times
            if not counting:
                weight *= tf.cast(rows * self.processes, tf.float32) / tf.cast(distinct, tf.float32)
            return tf.gather(images, place), tf.gather(labels, place), weight

        return fill

    def _own(self, split):
        """Return how many images of a split this process reads."""
        own = split.portion(self.process, self.processes) if self.processes > 1 else split
        if own is not None:
            return own.examples
        return (split.examples - self.process + self.processes - 1) // self.processes
