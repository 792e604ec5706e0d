"""Timed functions in processes of their own, which take turns."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


def serve(function: Callable[[], Any]) -> None:
    """Call a function once for each line on stdin, and print its seconds.

    It is called once before, which compiles it; `common.interleave` calls it once more to warm the caches.

    Args:
        function: what is timed.
    """
    function()
    for _ in sys.stdin:
        start = time.perf_counter()
        function()
        print(json.dumps(time.perf_counter() - start), flush=True)


class Process:
    """A process that runs `serve`.

    Args:
        arguments: the script that calls `serve`, and its arguments.
        environment: variables to set for it.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def __call__(self) -> None:
        """Run the function once.

        Raises:
            RuntimeError: if the process ended; its own error stands on stderr.
        """
        assert self.process.stdin is not None and self.process.stdout is not None  # both are pipes
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        if not self.process.stdout.readline():
            raise RuntimeError(f"a process of the benchmark failed. Received: {self.process.args}")

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
