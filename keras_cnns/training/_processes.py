"""Several processes that train together on JAX: how they meet, go alike, stop together and notice that one died."""

import contextlib
import functools
import hashlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time

import keras
import numpy as np

from keras_cnns.errors import ArgumentError, Interrupted, TrainingError
from keras_cnns.training._callbacks import TimeUp
from keras_cnns.training.run_folder import going_on

PATIENCE = 40  # seconds in which processes must have met
HEARTBEAT = 30  # seconds after which JAX takes a process that is silent for dead
ANSWER = 10  # seconds within which a process must say that it lives, when another has noticed that one is gone


def join(coordinator, num_processes, process_id):
    """Meet the other processes; `distribution` says what the arguments are.

    Not `keras.distribution.initialize`: it hands no time limits on, and JAX's own are five minutes and more.
    """
    import jax
    from jax.experimental import multihost_utils

    if jax.distributed.is_initialized():
        return
    settings = {}
    if coordinator == "auto":
        settings = _given(num_processes=num_processes, process_id=process_id)
    else:
        if num_processes is None or process_id is None or not 0 <= process_id < num_processes:
            raise ArgumentError(
                "with `coordinator` go `num_processes`, and `process_id` from 0 to one less. Received: "
                f"num_processes={num_processes!r}, process_id={process_id!r}"
            )
        host, port = _host_and_port(coordinator)
        if process_id == 0:
            _check_free(port, coordinator)
        else:
            _wait_for(host, port, coordinator)
        settings = {"coordinator_address": coordinator, "num_processes": num_processes, "process_id": process_id}
    others = f"all {num_processes} processes" if num_processes else "all processes"
    late = (
        f"{others} have not met at {coordinator} within {PATIENCE} seconds; start them all, each with its own number."
    )
    try:
        with _end_after(PATIENCE, f"{late} Received: num_processes={num_processes}, process_id={process_id}"):
            jax.distributed.initialize(
                **settings,
                initialization_timeout=2 * PATIENCE,
                heartbeat_timeout_seconds=HEARTBEAT,
                shutdown_timeout_seconds=HEARTBEAT,
            )
            with _stdout_on_stderr():
                multihost_utils.sync_global_devices("all have met")
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        if "before any JAX calls" in reason:
            cure = "Call `distribution` before Keras has computed anything"
        elif coordinator == "auto":
            cure = "Give HOST:PORT, `num_processes` and `process_id`, where no scheduler's variables say them"
        else:
            cure = "Check the address and the numbers"
        raise ArgumentError(
            f"the processes cannot meet: {reason.rstrip('.')}. {cure}. Received: coordinator={coordinator!r}"
        ) from error


def agree(what):
    """Raise ArgumentError, in each process, if they were not given the same.

    Args:
        what: dictionary of JSON values.
    """
    from jax.experimental.multihost_utils import process_allgather

    names = sorted(what)
    ours = [hashlib.sha256(json.dumps(what[name], sort_keys=True, default=repr).encode()).digest() for name in names]
    every = process_allgather(np.stack([np.frombuffer(one, "uint8") for one in ours]))
    for name, differs in zip(names, (every != every[:1]).any((0, 2)), strict=True):
        if differs:
            numbers = np.flatnonzero((every[:, names.index(name)] != every[0, names.index(name)]).any(1)).tolist()
            raise ArgumentError(
                f"all processes must be started alike, and see the same files; {_numbered(numbers)} not as process 0. "
                f"Received: {name}={what[name]!r}"[:500]
            )


def noticing(train):
    """Let `train` end as one in all processes: raise a TrainingError that says which ones have gone."""

    @functools.wraps(train)
    def together(*args, **options):
        distribution = options.get("distribution")
        if distribution is None or distribution.processes == 1:
            return train(*args, **options)
        from jax.experimental.multihost_utils import sync_global_devices

        try:
            try:
                found = train(*args, **options)
            except Interrupted:  # all of them were
                sync_global_devices("the training is over")
                raise
            # Whoever ended before the others would be missed by one that still writes
            sync_global_devices("the training is over")
            return found
        except Exception as error:
            if hasattr(error, "exit_code") or not (gone := _missing()):
                raise
            raise TrainingError(
                f"{_numbered(gone)} gone, so that this one ends too; see what it said at its end. To go on from the "
                f"last checkpoint: {going_on(options.get('command'))}"
            ) from error

    return together


class Together(keras.callbacks.Callback):
    """Stops all processes behind the same step, when one of them gets SIGTERM or Ctrl-C, or its time is over.

    JAX tells the others and chooses the step.

    Args:
        checkpoint: `Checkpoint`, which writes where the training stands.
        minutes: from the start of `fit`, after which this process has all of them stopped; None: never.

    Attributes:
        stops: whether all of them stop now.
    """

    def __init__(self, checkpoint, minutes=None):
        super().__init__()
        self.checkpoint, self.minutes = checkpoint, minutes
        self._calls, self._asked, self.stops = 0, False, False

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self._end = time.monotonic() + 60 * self.minutes if self.minutes else float("inf")

    def on_train_batch_end(self, batch, logs=None):
        """Stop at the step that JAX chose."""
        from jax.experimental.multihost_utils import reached_preemption_sync_point

        if time.monotonic() >= self._end and not self._asked:
            self._asked = True
            stop_all()
        self._calls += 1
        self.stops = reached_preemption_sync_point(self._calls) or self.stops
        if self.checkpoint.within:
            self._stop_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        """Stop here if that step was the epoch's last."""
        self._stop_if_asked()

    def _stop_if_asked(self):
        """Write and raise KeyboardInterrupt or TimeUp."""
        if self.stops:
            self.checkpoint.write()
            # The clocks of all processes started at about the same time
            raise TimeUp if time.monotonic() >= self._end - 5 else KeyboardInterrupt


def stop_all():
    """Have all processes stop, as a scheduler does that takes a machine away."""
    os.kill(os.getpid(), signal.SIGTERM)


def _missing():
    """Return the numbers of the processes that do not answer."""
    from jax._src.distributed import global_state

    if global_state.client is None:
        return []
    try:
        global_state.client.wait_at_barrier("keras_cnns: who is there?", 1000 * ANSWER)
    except Exception as error:
        text = str(error)
        named = re.search(r"timed out task names:\s*((?:\d+\s*)+)", text) or re.search(r"Task (\d+) heartbeat", text)
        if named:
            return sorted(map(int, named[1].split()))
        return [0] if re.search("UNAVAILABLE|CANCELLED|connect", text) else []
    return []


def _numbered(numbers):
    return f"process {numbers[0]} is" if len(numbers) == 1 else f"processes {', '.join(map(str, numbers))} are"


def _host_and_port(coordinator):
    host, colon, port = coordinator.rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
        raise ArgumentError(
            f"`coordinator` must be HOST:PORT of process 0, as 10.0.0.1:1234, or 'auto'. Received: {coordinator!r}"
        )
    return host.strip("[]"), int(port)


def _check_free(port, coordinator):
    """Raise ArgumentError if something listens at the port that process 0 is to listen at."""
    # Of its own accord JAX would share it with another coordinator, and mix two trainings up
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ArgumentError(
                f"process 0 cannot listen there ({error.strerror}): perhaps another training does; choose another "
                f"port. Received: coordinator={coordinator!r}"
            ) from None


def _wait_for(host, port, coordinator):
    """Wait until process 0 listens; raise TrainingError if it does not in time."""
    end, reason = time.monotonic() + PATIENCE, ""
    while time.monotonic() < end:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            reason = error.strerror or str(error)
            time.sleep(0.5)
    raise TrainingError(
        f"no process 0 answered there within {PATIENCE} seconds ({reason}): start it, and give its address, which "
        f"this machine must be able to reach. Received: coordinator={coordinator!r}"
    )


@contextlib.contextmanager
def _end_after(seconds, message):
    """End this process with a message if the body takes longer: JAX would abort it, and not say why."""

    def end():
        print(f"keras_cnns: {message}", file=sys.stderr, flush=True)
        os._exit(TrainingError.exit_code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _stdout_on_stderr():
    """Let what libraries in C print on stdout go to stderr: as they first meet, CPUs say so there."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _given(**settings):
    return {name: value for name, value in settings.items() if value is not None}
