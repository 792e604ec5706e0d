"""Several processes that train together on JAX.

They meet, check that they were started with the same arguments, stop after the same step, and notice that one died.
"""

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
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_cnns import _keras
from keras_cnns.errors import ArgumentError, Interrupted, TrainingError
from keras_cnns.training.run_folder import resume_command
from keras_cnns.training.stops import Logs, TimeUp

if TYPE_CHECKING:
    from keras_cnns.saving import ModelInfo
    from keras_cnns.training.checkpoint import Checkpoint
    from keras_cnns.training.job import Job

MEETING_TIMEOUT = 40  # seconds in which all processes must have met
HEARTBEAT = 30  # seconds of silence after which JAX takes a process for dead
ANSWER = 10  # seconds in which each process must answer after one of them has noticed that another is gone


def join(coordinator: str, num_processes: int | None, process_id: int | None) -> None:
    """Meet the other processes.

    `keras.distribution.initialize` is not used, because it passes no time limits on, and JAX's defaults are five
    minutes and more.

    Args:
        coordinator: as in `distribution`.
        num_processes: as in `distribution`.
        process_id: as in `distribution`.

    Raises:
        ArgumentError: if the arguments contradict each other, or JAX cannot use them.
        TrainingError: if process 0 does not answer in time. If others do not come in time, the process ends with its
            exit code and a message.
    """
    import jax
    from jax.experimental import multihost_utils

    if jax.distributed.is_initialized():
        return
    settings: dict[str, Any]
    if coordinator == "auto":
        settings = _without_none(num_processes=num_processes, process_id=process_id)
    else:
        if num_processes is None or process_id is None or not 0 <= process_id < num_processes:
            raise ArgumentError(
                "with `coordinator`, give `num_processes`, and `process_id` from 0 to one less. Received: "
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
        f"{others} have not met at {coordinator} within {MEETING_TIMEOUT} seconds; start them all, each with its own "
        "number."
    )
    try:
        with _end_after(MEETING_TIMEOUT, f"{late} Received: num_processes={num_processes}, process_id={process_id}"):
            jax.distributed.initialize(
                **settings,
                initialization_timeout=2 * MEETING_TIMEOUT,
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
            cure = "Give HOST:PORT, `num_processes` and `process_id`, as no scheduler's variables say them"
        else:
            cure = "Check the address and the numbers"
        raise ArgumentError(
            f"the processes cannot meet: {reason.rstrip('.')}. {cure}. Received: coordinator={coordinator!r}"
        ) from error


def check_same_values(values: Mapping[str, Any]) -> None:
    """Raise ArgumentError in every process if their values differ.

    Args:
        values: dictionary of JSON values.
    """
    from jax.experimental.multihost_utils import process_allgather

    names = sorted(values)
    digests = [
        hashlib.sha256(json.dumps(values[name], sort_keys=True, default=repr).encode()).digest() for name in names
    ]
    # uint8 (processes, names, bytes)
    gathered = process_allgather(np.stack([np.frombuffer(digest, "uint8") for digest in digests]))
    differs = (gathered != gathered[:1]).any(2)
    for k, name in enumerate(names):
        if differs[:, k].any():
            numbers = np.flatnonzero(differs[:, k]).tolist()
            raise ArgumentError(
                "all processes must be started with the same arguments, and see the same files; "
                f"{_numbered(numbers)} not as process 0. Received: {name}={values[name]!r}"[:500]
            )


def report_lost_processes(run: "Callable[[Job], ModelInfo]") -> "Callable[[Job], ModelInfo]":
    """Let a run raise a TrainingError that names the processes that died.

    All processes also end together: one that ended early would be missed by one that still writes.
    """

    @functools.wraps(run)
    def run_together(job: "Job") -> "ModelInfo":
        if job.distribution.processes == 1:
            return run(job)
        from jax.experimental.multihost_utils import sync_global_devices

        try:
            try:
                info = run(job)
            except Interrupted:  # in all processes
                sync_global_devices("the training is over")
                raise
            sync_global_devices("the training is over")
            return info
        except Exception as error:
            if hasattr(error, "exit_code") or not (missing := _missing_processes()):
                raise
            raise TrainingError(
                f"{_numbered(missing)} gone, so that this one ends too; see what it said at its end. To resume from "
                f"the last checkpoint: {resume_command(job.command)}"
            ) from error

    return run_together


class SharedStop(keras.callbacks.Callback):
    """Stop all processes after the same step when one is told to.

    A process is told by SIGTERM, by Ctrl-C, or because its time is over. JAX tells the others and chooses the step.

    Args:
        checkpoint: `Checkpoint` of the run.
        minutes: time from the start of `fit` after which this process stops all of them; None: never.

    Attributes:
        stops: whether all of them stop now.
    """

    def __init__(self, checkpoint: "Checkpoint", minutes: float | None = None):
        super().__init__()
        self.checkpoint, self.minutes = checkpoint, minutes
        self._calls, self._asked, self.stops = 0, False, False

    def on_train_begin(self, logs: Logs = None) -> None:
        """Start the clock."""
        self._end = time.monotonic() + 60 * self.minutes if self.minutes else float("inf")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Stop at the step that JAX chose."""
        from jax.experimental.multihost_utils import reached_preemption_sync_point

        if time.monotonic() >= self._end and not self._asked:
            self._asked = True
            stop_all()
        self._calls += 1
        self.stops = reached_preemption_sync_point(self._calls) or self.stops
        if self.checkpoint.within:
            self._stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Stop here if the chosen step was the epoch's last."""
        self._stop_if_asked()

    def _stop_if_asked(self):
        """Write the checkpoint, and raise KeyboardInterrupt or `TimeUp`."""
        if self.stops:
            self.checkpoint.write()
            # The clocks of all processes started at about the same time, so all raise the same
            raise TimeUp if time.monotonic() >= self._end - 5 else KeyboardInterrupt


def stop_all() -> None:
    """Stop all processes by SIGTERM to this one, as a scheduler does."""
    os.kill(os.getpid(), signal.SIGTERM)


def _missing_processes():
    """Return the numbers of the processes that do not answer."""
    client = _keras.jax_coordination_client()
    if client is None:
        return []
    try:
        client.wait_at_barrier("keras_cnns: who is there?", 1000 * ANSWER)
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
    """Raise ArgumentError if something listens at the port meant for process 0."""
    # JAX would share the port with another coordinator, and mix two training runs up
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ArgumentError(
                f"process 0 cannot listen there ({error.strerror}): perhaps another run does; choose another "
                f"port. Received: coordinator={coordinator!r}"
            ) from None


def _wait_for(host, port, coordinator):
    """Wait until process 0 listens; raise TrainingError when the time is over."""
    end, reason = time.monotonic() + MEETING_TIMEOUT, ""
    while time.monotonic() < end:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            reason = error.strerror or str(error)
            time.sleep(0.5)
    raise TrainingError(
        f"no process 0 answered there within {MEETING_TIMEOUT} seconds ({reason}): start it, and give its address, "
        f"which this machine must be able to reach. Received: coordinator={coordinator!r}"
    )


@contextlib.contextmanager
def _end_after(seconds: float, message: str) -> Iterator[None]:
    """End this process with a message if the body takes longer.

    JAX would abort the process without saying why.
    """

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
def _stdout_on_stderr() -> Iterator[None]:
    """Send what C libraries print on stdout to stderr.

    When processes first meet on CPUs, a library says so on stdout, which is for results.
    """
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def _without_none(**settings):
    return {name: value for name, value in settings.items() if value is not None}
