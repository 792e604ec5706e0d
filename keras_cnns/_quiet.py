"""Silence for what is not for users. Standard library only."""

import contextlib
import logging
import os
import sys
import tempfile


@contextlib.contextmanager
def quiet():
    """Hold back what converters and runtimes write to stderr; if they fail, note it in the traceback."""
    sys.stderr.flush()
    level, stderr = logging.root.manager.disable, os.dup(2)
    with tempfile.TemporaryFile() as held:
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
