"""Sharding of images among processes, and batches that devices can divide."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from keras_cnns.data.splits import Split
from keras_cnns.errors import ArgumentError

# Maps the elements of a split to those of this process
Selection = Callable[[tf.data.Dataset], tf.data.Dataset]


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of each batch that one of several training processes reads.

    All processes have the same number of batches per pass, and each image is read by one of them. If the images of the
    last batch cannot be divided evenly, some of its rows repeat an image, and weights correct for that.

    Attributes:
        devices: number of devices in all processes together; each process has equally many.
        process: number of this process, from 0.
        processes: number of processes.

    Examples:
        >>> from keras_cnns import data
        >>> split, share = data.open_source("digits").split("train"), data.Share(devices=4, process=0, processes=2)
        >>> batches = data.make_dataset(split, data.Preprocessing((32, 32), 1), 128, share=share)
        >>> images, labels, weights = next(iter(batches))
        >>> tuple(images.shape)
        (64, 32, 32, 1)
    """

    devices: int = 1
    process: int = 0
    processes: int = 1

    def batch_size(self, batch_size: int) -> int:
        """Return how many images of a batch this process reads.

        Args:
            batch_size: images per batch of all processes together.

        Raises:
            ArgumentError: if it is not a multiple of the number of devices.
        """
        if batch_size % self.devices:
            below = batch_size // self.devices * self.devices
            near = f"{below} or {below + self.devices}" if below else str(self.devices)
            raise ArgumentError(
                f"{self.devices} devices share each batch, so that its size must be a multiple of that, as {near}. "
                f"Received: batch_size={batch_size}"
            )
        return batch_size // self.processes

    def of(self, split: Split) -> tuple[Split, Selection | None]:
        """Return what this process reads of a split.

        A dataset in shards is divided by examples, so that a process opens only its own files. Any other split is
        listed by every process, and the processes take turns: each batch then has the images that it would have with
        one process.

        Args:
            split: `Split` of all processes.

        Returns:
            The split that this process reads, and a function that selects its elements from a `tf.data.Dataset` of
            that split; None for all elements.
        """
        if self.processes == 1:
            return split, None
        images_each = -(-split.examples // self.processes)
        own = split.portion(self.process, self.processes)
        if own is not None:
            # A process with one image less than others reads one image twice
            return own, lambda data: data if own.examples == images_each else data.repeat().take(images_each)

        def take_turns(data):
            if split.examples % self.processes:
                data = data.repeat().take(images_each * self.processes)
            return data.shard(self.processes, self.process)

        return split, take_turns

    def fill(
        self, split: Split, batch_size: int, counting: bool = False
    ) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]] | None:
        """Return a function for a tf.data map that makes a batch divisible.

        It maps (number of the batch in its pass, images, labels) to (images, labels, weights), with float32 weights
        (batch,). The mean of the weighted loss over the rows, as Keras computes it, is then the mean over the images.
        Only batch normalization is affected by the images that occur twice.

        Args:
            split: `Split` whose images are divided.
            batch_size: images per batch of all processes together.
            counting: whether weights count each image once, for a weighted mean over many batches. Otherwise they
                correct the mean over the rows of each batch.

        Returns:
            The function, or None if all batches are divisible.
        """
        if split.examples % self.devices == 0:
            return None
        local_batch = batch_size // self.processes
        own_examples = self._own_examples(split)

        def fill(number, images, labels):
            here = tf.shape(images, tf.int64)[0]
            distinct = tf.minimum(tf.constant(batch_size, tf.int64), split.examples - number * batch_size)
            rows = -(-distinct // self.devices) * (self.devices // self.processes)
            place = tf.range(rows) % here
            real = tf.cast(number * local_batch + place < own_examples, tf.float32)
            times = tf.gather(tf.math.bincount(tf.cast(place, tf.int32), dtype=tf.float32), place)
            weight = real / times
            if not counting:
                weight *= tf.cast(rows * self.processes, tf.float32) / tf.cast(distinct, tf.float32)
            return tf.gather(images, place), tf.gather(labels, place), weight

        return fill

    def _own_examples(self, split: Split) -> int:
        """Return how many images of a split this process reads."""
        own = split.portion(self.process, self.processes) if self.processes > 1 else split
        if own is not None:
            return own.examples
        return (split.examples - self.process + self.processes - 1) // self.processes
