"""How tests kill a training run."""

import contextlib

import pytest

from keras_cnns.training import _callbacks, checkpoint, compilation, stops


class Killed(BaseException):
    """End a run without saving anything."""


def save_each_step(monkeypatch):
    """Write a checkpoint after every step, in executions of one step."""
    monkeypatch.setattr(checkpoint, "SHARE", 1e9)
    monkeypatch.setitem(_callbacks.callbacks.__kwdefaults__, "minutes", 0.0)
    monkeypatch.setattr(compilation, "_steps_per_execution", lambda model, batch_size: 1)


@contextlib.contextmanager
def killed_at(step, monkeypatch):
    """Kill the run within the context after so many steps."""
    batches = []

    def kill(self, batch, logs=None):
        batches.append(batch)
        if len(batches) == step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(stops.CtrlC, "on_train_batch_end", kill)
        with pytest.raises(Killed):
            yield
