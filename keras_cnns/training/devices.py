"""On which devices, and in how many processes, a training computes: a choice among the engines that there are."""

import contextlib
import dataclasses
import functools

import keras

from keras_cnns.data.sharding import Share
from keras_cnns.errors import ArgumentError
from keras_cnns.training import _processes


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Devices that share each batch, every one with a copy of the weights.

    Attributes:
        devices: their names; those of all processes.
        process: number of this process, from 0.
        processes: how many train together.
        engine: `tf.distribute.MirroredStrategy` or `keras.distribution.DataParallel`; None for one device.
    """

    devices: tuple[str, ...]
    process: int = 0
    processes: int = 1
    engine: object = None

    @contextlib.contextmanager
    def scope(self):
        """Within it one builds, compiles and fits, and not outside."""
        if self.engine is None:
            yield
            return
        with self.engine.scope():
            yield

    @contextlib.contextmanager
    def outside(self):
        """Within the scope, leave it where one process does something by itself, in which the others have no part."""
        if self.processes == 1:
            yield
            return
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)

    @property
    def share(self):
        """`Share` of this process, for `make_datasets`; None for one device."""
        return None if self.engine is None else Share(len(self.devices), self.process, self.processes)

    @property
    def writes(self):
        """Whether this is the process that writes checkpoints, logs and files."""
        return self.process == 0

    @property
    def mirrored(self):
        """Whether the engine is TensorFlow's."""
        return self.engine is not None and keras.backend.backend() == "tensorflow"

    def record(self):
        """Return what a model file notes of it, as JSON; nothing of one device."""
        return {} if self.engine is None else {"devices": list(self.devices), "processes": self.processes}


ONE_DEVICE = Distribution(())


def distribution(devices="all", *, coordinator=None, num_processes=None, process_id=None):
    """Return the devices to train on: those of this machine, or of several processes, on one machine or on many.

    Batches, learning rate and steps are those of the recipe, however many devices share them. On TensorFlow the engine
    is `tf.distribute.MirroredStrategy`, on JAX `keras.distribution.DataParallel`. Several processes train on JAX; each
    is started with the same arguments but for `process_id`, before Keras has computed anything.

    Args:
        devices: "all", or how many of each process.
        coordinator: "HOST:PORT" at which process 0 can be reached, or "auto": this, and what else is not given, comes
            from the variables of Slurm, Open MPI, Kubernetes or Cloud TPU, as `jax.distributed.initialize` reads them.
            None: this process alone.
        num_processes: how many there are.
        process_id: number of this one, from 0.

    Returns:
        `Distribution`.

    Raises:
        ArgumentError: if there are no such devices, another backend than JAX is to train in several processes, or
            what says how they find each other cannot be right.
        TrainingError: if they do not find each other within `_processes.PATIENCE` seconds.
    """
    if devices != "all" and (isinstance(devices, bool) or not isinstance(devices, int) or devices < 1):
        raise ArgumentError(f"`devices` must be 'all' or a whole number from 1. Received: devices={devices!r}")
    backend = keras.backend.backend()
    if coordinator is not None:
        if backend != "jax":
            raise ArgumentError(
                "several processes train on JAX: set KERAS_BACKEND=jax before Keras is imported. (TensorFlow's "
                f"MultiWorkerMirroredStrategy fails in Keras 3's `fit`.) Received: backend={backend!r}"
            )
        _processes.join(coordinator, num_processes, process_id)
    elif num_processes is not None or process_id is not None:
        raise ArgumentError(
            "several processes need a `coordinator`, as HOST:PORT of process 0. Received: "
            f"num_processes={num_processes!r}, process_id={process_id!r}"
        )
    if backend == "jax":
        return _on_jax(devices)
    if backend == "tensorflow":
        return _on_tensorflow(devices)
    raise ArgumentError(f"several devices need the backend tensorflow or jax. Received: backend={backend!r}")


def _on_tensorflow(devices):
    import tensorflow as tf

    there = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    names = _first([one.name.removeprefix("/device:") for one in there], devices)
    return Distribution(names, engine=_strategy(names) if len(names) > 1 else None)


@functools.cache
def _strategy(names):
    """Return the strategy of these devices: two of them in one process take each other's sums for their own."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


def _on_jax(devices):
    import jax
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # it computes already
        tf.config.set_visible_devices([], "GPU")  # here it reads images, and would take the GPUs' memory for itself
    by_process = [[] for _ in range(jax.process_count())]
    for one in jax.devices():
        by_process[one.process_index].append(f"{one.platform}:{one.id}")
    names = sum((_first(there, devices) for there in by_process), ())
    # Each process reads its own part of the data
    engine = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False) if len(names) > 1 else None
    return Distribution(names, jax.process_index(), len(by_process), engine)


def _first(there, devices):
    """Return all devices, or the first so many; raise ArgumentError if they are fewer."""
    if devices == "all":
        return tuple(there)
    if devices > len(there):
        raise ArgumentError(
            f"there are no more devices than {', '.join(there)}; ask for {len(there)} or 'all'. "
            f"Received: devices={devices}"
        )
    return tuple(there[:devices])
