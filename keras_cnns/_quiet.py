"""Silence for what is not for users. Standard library only."""

import contextlib
import logging
import os
import sys
import tempfile


@contextlib.contextmanager
def quiet():
    """Hold back what converters and runtimes write to stderr; if they fail, note it in the traceback."""
    try:
        stderr, held = os.dup(2), tempfile.TemporaryFile()
    except OSError:  # stderr is closed, or there is nowhere to hold anything
        yield
        return
    level = logging.root.manager.disable
    with held:
        sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        logging.disable(logging.WARNING)
        try:
            yield
        except BaseException as error:
            sys.stderr.flush()
            held.seek(0)
            error.add_note(held.read().decode(errors="replace"))
            raise
        finally:
            sys.stderr.flush()
            logging.disable(level)
            os.dup2(stderr, 2)
            os.close(stderr)
