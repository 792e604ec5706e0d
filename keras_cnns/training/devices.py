"""The devices and processes of a training run."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import keras

from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.training import _processes

if TYPE_CHECKING:
    from keras_cnns.data.sharding import Share


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Devices that share each batch, each with a copy of the weights.

    Attributes:
        devices: names of the devices of all processes.
        process: number of this process, from 0.
        processes: how many processes train together.
        engine: `tf.distribute.MirroredStrategy` or `keras.distribution.DataParallel`; None for one device.
    """

    devices: tuple[str, ...]
    process: int = 0
    processes: int = 1
    engine: Any = None

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Build, compile and fit a model within this context, and only there."""
        if self.engine is None:
            yield
            return
        with self.engine.scope():
            yield

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """Leave the scope within this context, for what one process does alone."""
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
    def share(self) -> "Share | None":
        """`Share` of this process, for `make_datasets`; None for one device."""
        if self.engine is None:
            return None
        from keras_cnns.data.sharding import Share  # it imports TensorFlow

        return Share(len(self.devices), self.process, self.processes)

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes checkpoints, logs and files."""
        return self.process == 0

    @property
    def mirrored(self) -> bool:
        """Whether the engine is TensorFlow's."""
        return self.engine is not None and keras.backend.backend() == "tensorflow"

    def record(self) -> dict[str, Any]:
        """Return the JSON values for a model file; empty for one device."""
        return {} if self.engine is None else {"devices": list(self.devices), "processes": self.processes}


ONE_DEVICE = Distribution(())


def distribution(
    devices: int | Literal["all"] = "all",
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> Distribution:
    """Return the devices to train on, of this process or of several.

    Batches, learning rate and steps stay those of the recipe, however many devices share them. On TensorFlow the engine
    is `tf.distribute.MirroredStrategy`, on JAX `keras.distribution.DataParallel`. Several processes, on one machine or
    on many, train on JAX. Start each one with the same arguments except `process_id`, and call this before Keras has
    computed anything.

    Args:
        devices: "all", or how many of each process.
        coordinator: "HOST:PORT" at which process 0 can be reached. With "auto", this and the other arguments that are
            not given come from the variables of Slurm, Open MPI, Kubernetes or Cloud TPU, as
            `jax.distributed.initialize` reads them. None: this process alone.
        num_processes: how many processes there are.
        process_id: number of this process, from 0.

    Returns:
        `Distribution`.

    Raises:
        ArgumentError: if there are no such devices, if several processes are asked for on another backend than JAX, or
            if the arguments about processes contradict each other.
        TrainingError: if the processes do not meet within `_processes.MEETING_TIMEOUT` seconds.

    Examples:
        >>> from keras_cnns import training
        >>> distribution = training.distribution(1)  # or "all", for training.train(..., distribution=distribution)
        >>> len(distribution.devices), distribution.processes
        (1, 1)
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


def use_device(name: str) -> None:
    """Choose the device of TensorFlow, before it has computed anything.

    Args:
        name: "auto" (a GPU if there is one), "cpu" or "gpu".

    Raises:
        ArgumentError: if there is no such device, or another one is in use already.

    Examples:
        >>> import tensorflow as tf
        >>> from keras_cnns import training
        >>> training.use_device("cpu")
        >>> tf.config.get_visible_devices("GPU")
        []
    """
    if name not in ("auto", "cpu", "gpu"):
        raise ArgumentError(
            f"`name` must be auto, cpu or gpu.{nearest(name, ('auto', 'cpu', 'gpu'))} Received: {name!r}"
        )
    if keras.backend.backend() != "tensorflow" or name == "auto":
        return
    import tensorflow as tf

    if name == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise ArgumentError(
            "TensorFlow sees no GPU; install tensorflow[and-cuda] on a machine that has one, or take the CPU. "
            f"Received: device={name!r}"
        )
    if name == "cpu":
        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError:
            raise ArgumentError(
                f"TensorFlow computes already; choose the device first of all. Received: device={name!r}"
            ) from None


def _on_tensorflow(devices):
    import tensorflow as tf

    existing = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    names = _first([device.name.removeprefix("/device:") for device in existing], devices)
    return Distribution(names, engine=_strategy(names) if len(names) > 1 else None)


@functools.cache
def _strategy(names):
    """Return the strategy of these devices, always the same one.

    Two strategies in one process would mix up their sums.
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


def _on_jax(devices):
    import jax
    import tensorflow as tf

    # TensorFlow only reads images here, and would take the GPUs' memory for itself
    with contextlib.suppress(RuntimeError):  # It computes already
        tf.config.set_visible_devices([], "GPU")
    by_process = [[] for _ in range(jax.process_count())]
    for device in jax.devices():
        by_process[device.process_index].append(f"{device.platform}:{device.id}")
    names = tuple(name for existing in by_process for name in _first(existing, devices))
    # Each process reads its own part of the data
    engine = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False) if len(names) > 1 else None
    return Distribution(names, jax.process_index(), len(by_process), engine)


def _first(names: Sequence[str], devices: int | Literal["all"]) -> tuple[str, ...]:
    """Return the first names; raise ArgumentError if they are too few."""
    if devices == "all":
        return tuple(names)
    if devices > len(names):
        raise ArgumentError(
            f"there are no more devices than {', '.join(names)}; ask for {len(names)} or 'all'. "
            f"Received: devices={devices}"
        )
    return tuple(names[:devices])
