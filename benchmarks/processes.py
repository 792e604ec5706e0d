"""Processes that work for a benchmark, line by line, and take turns."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


def serve(function: Callable[[], Any]) -> None:
    """Call a function once for each line on stdin, and print a line after it.

    It is called once before, which compiles it; `common.interleave` calls it once more to warm the caches.

    Args:
        function: what is timed.
    """
    function()
    for _ in sys.stdin:
        function()
        print(flush=True)


class Process:
    """A process that answers lines, such as one that runs `serve`.

    Args:
        arguments: a script and its arguments.
        environment: variables to set for it.
        python: interpreter.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str] | None = None, python: str = sys.executable
    ) -> None:
        self.process = subprocess.Popen(
            [python, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def send(self, line: str) -> None:
        """Write a line to the process. If it has ended, `receive` says so."""
        assert self.process.stdin is not None  # a pipe
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()

    def receive(self) -> str:
        """Return the next line that the process prints.

        Raises:
            RuntimeError: if the process ended; its own error stands on stderr.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the benchmark failed. Received: {self.process.args}")
        return line.rstrip("\n")

    def __call__(self) -> None:
        """Let the process work once."""
        self.send("")
        self.receive()

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def processes(commands: Mapping[str, tuple[Sequence[str], Mapping[str, str]]]) -> Iterator[dict[str, Process]]:
    """Start processes, and end them on leaving the context.

    Args:
        commands: arguments and environment of each `Process`, by name.
    """
    started: dict[str, Process] = {}
    try:
        for name, (arguments, environment) in commands.items():
            started[name] = Process(arguments, environment)
        yield started
    finally:
        for process in started.values():
            process.close()
