"""Silence for what is not for users. Standard library only."""

import contextlib
import logging
import os
import re
import sys
import tempfile

# Lines that TensorFlow writes while it starts, before its logging listens to TF_CPP_MIN_LOG_LEVEL
CHATTER = re.compile(
    r"WARNING: All log messages before absl|[IWE]\d{4} [\d:.]+ +\d+ \S+\.cc:\d+\]|"
    r"\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: [IWE] |To enable the following instructions:"
)


@contextlib.contextmanager
def quiet():
    """Hold back what converters and runtimes write to stderr; if they fail, note it in the traceback."""
    level, said = logging.root.manager.disable, []
    try:
        with held_back(said):
            logging.disable(logging.WARNING)
            try:
                yield
            finally:
                logging.disable(level)
    except BaseException as error:
        if said:
            error.add_note(said[0])
        raise


@contextlib.contextmanager
def starting():
    """Leave out what TensorFlow writes about its start, if it is imported inside; all other text is written afterwards.

    With TF_CPP_MIN_LOG_LEVEL set to any value, nothing is changed: so a process can see it all.
    """
    if "tensorflow" in sys.modules or "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # for later lines, such as those about a GPU that is not there
    said = []
    try:
        with held_back(said):
            yield
    finally:
        if "tensorflow" not in sys.modules:
            del os.environ["TF_CPP_MIN_LOG_LEVEL"]  # a later import may be the one
        for line in "".join(said).splitlines(keepends=True):
            if not CHATTER.match(line) and sys.stderr is not None:
                sys.stderr.write(line)


def import_keras():
    """Import keras and what it runs on, without what TensorFlow writes about its start."""
    with starting():
        import keras  # noqa: F401


@contextlib.contextmanager
def held_back(said):
    """Hold back what is written to stderr, and append the text to `said` on leaving; nothing where none can be held."""
    try:
        stderr, held = os.dup(2), tempfile.TemporaryFile()
    except OSError:  # stderr is closed, or there is nowhere to hold anything
        yield
        return
    with held:
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            said.append(held.read().decode(errors="replace"))


def _flush():
    if sys.stderr is not None:  # as in a program without a console
        sys.stderr.flush()
