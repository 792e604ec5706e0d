"""The progress of training on a terminal and in a log."""

import io
import re
import types

import keras
import numpy as np
import pytest

from keras_cnns.training import progress
from keras_cnns.training.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock whose time is `clock.now`."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def stream(monkeypatch):
    """The text on stderr; `stream.terminal` says whether that is a terminal."""

    class Stream(io.StringIO):
        terminal = False

        def isatty(self):
            return self.terminal

    stream = Stream()
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=stream))
    return stream


def run(callback, clock, epochs, steps, seconds, validation=0.0, first=0, at_once=1, waited=None, wait=0.0):
    """Call the callback as `fit` does; an execution takes `seconds` per step."""
    with callback:
        callback.on_train_begin()
        for epoch in range(first, epochs):
            callback.on_epoch_begin(epoch)
            for start in range(0, steps, at_once):
                count = min(at_once, steps - start)
                clock.now += seconds * count
                if waited is not None:
                    waited[0] += wait * count
                callback.on_train_batch_end(start + at_once - 1, {"loss": 0.5, "accuracy": 0.9})
            callback.on_test_begin()
            clock.now += validation
            callback.on_epoch_end(epoch, {"loss": 0.5, "accuracy": 0.9, "val_loss": 0.25, "val_accuracy": 0.95})


def test_a_log_of_many_epochs_stays_short(clock, stream):
    run(Progress(16, 1000, 10), clock, 1000, 10, 0.1)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 100 and lines[-1].startswith("epoch 1000/1000  loss 0.5000  accuracy 90.00%")


def test_a_log_of_long_epochs_stays_short_too(clock, stream):
    run(Progress(16, 30, 300), clock, 30, 300, 60.0)  # 150 hours
    assert 60 < len(stream.getvalue().splitlines()) < 180
    stream.truncate(0)
    run(Progress(16, 1000, 11), clock, 1000, 11, 60.0)  # A sign of life in each epoch would make 1100
    assert len(stream.getvalue().splitlines()) <= 130


def test_the_last_line_is_that_of_an_early_stop(clock, stream):
    callback = Progress(16, 1000, 10)
    run(callback, clock, 25, 10, 0.1)
    assert stream.getvalue().splitlines()[-1].startswith("epoch 20/1000")
    callback.on_train_end()
    assert stream.getvalue().splitlines()[-1].startswith("epoch 25/1000  loss 0.5000")
    assert len(stream.getvalue().splitlines()) == 3


def test_each_epoch_has_one_line(clock, stream):
    run(Progress(16, 3, 10), clock, 3, 10, 0.1, validation=2.0)
    first, _, last = stream.getvalue().splitlines()
    assert first == (
        "epoch 1/3  loss 0.5000  accuracy 90.00%  validation loss 0.2500  validation accuracy 95.00%  160 images/s  "
        "6 s left"
    )
    assert last.endswith("0 s left")


def test_long_epochs_show_a_sign_of_life(clock, stream):
    run(Progress(16, 1, 1000), clock, 1, 1000, 3.0)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 6 and lines[0].startswith("epoch 1/1  step 200/1000  loss 0.5000")
    assert lines[0].endswith("40 min left")


@pytest.mark.parametrize("at_once", [1, 4, 16])
def test_images_are_counted_whatever_the_steps_at_once(clock, stream, at_once):
    callback, waited = Progress(16, 3, 10, waited=lambda: waited[0]), [0.0]
    run(callback, clock, 3, 10, 0.5, validation=7.0, at_once=at_once, waited=waited, wait=0.1)
    assert callback.images_per_second == pytest.approx(32)
    assert callback.waiting == pytest.approx(0.2)
    assert "input 20%" in stream.getvalue()


def test_a_resumed_epoch_is_measured_without_skipped_steps(clock, stream, monkeypatch):
    monkeypatch.setattr(progress.keras.backend, "backend", lambda: "tensorflow")
    callback = Progress(16, 5, 10, start=6)
    with callback:
        callback.on_epoch_begin(3)
        for step in range(10):
            clock.now += 0.001 if step < 6 else 1.0
            callback.on_train_batch_end(step, {"loss": 0.5})
        callback.on_epoch_end(3, {"loss": 0.5})
    assert callback.images_per_second == 16 and "epoch 4/5" in stream.getvalue()
    assert "10 s left" in stream.getvalue()


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_resumed_epoch_is_counted_as_fit_counts_it(clock, stream, monkeypatch, backend):
    monkeypatch.setattr(progress.keras.backend, "backend", lambda: backend)
    callback = Progress(16, 5, 10, start=4)
    callback.on_epoch_begin(3)
    for step in range(10 if backend == "tensorflow" else 6):  # On JAX the epoch is shorter
        clock.now += 0.0 if backend == "tensorflow" and step < 4 else 1.0
        callback.on_train_batch_end(step, {})
    assert callback._measured == (5, 5.0, 0.0)  # Without the first one
    callback.on_epoch_end(3, {})
    callback.on_epoch_begin(4)
    clock.now += 1.0
    callback.on_train_batch_end(0, {})
    assert callback._measured == (6, 6.0, 0.0) and callback._done == 1


def test_the_step_that_compiles_is_no_measure_of_speed(clock, stream):
    callback = Progress(16, 3, 10)
    callback.on_epoch_begin(0)
    clock.now += 100.0
    callback.on_train_batch_end(0, {})
    assert callback.images_per_second == 0.2  # It is the only one
    for step in range(1, 10):
        clock.now += 0.5
        callback.on_train_batch_end(step, {})
    assert callback.images_per_second == 32


def test_unknown_steps_are_learned_from_the_first_epoch(clock, stream):
    stream.terminal = True
    callback = Progress(16, 3, stream=stream)
    with callback:
        for epoch in range(2):
            callback.on_epoch_begin(epoch)
            for step in range(10):
                clock.now += 1.0
                callback.on_train_batch_end(step, {"loss": 0.5})
            if epoch == 0:
                assert "step 10  loss" in stream.getvalue() and "left" not in stream.getvalue()
            callback.on_epoch_end(epoch, {"loss": 0.5})
    assert "step 1/10  loss 0.5000  16 images/s  19 s left" in stream.getvalue()


def test_logs_are_read_only_when_they_are_shown(clock, stream):
    class Value:
        read = 0

        def __float__(self):
            Value.read += 1
            return 0.5

    stream.terminal = True
    with Progress(16, 1, 1000) as callback:
        callback.on_epoch_begin(0)
        for step in range(1000):
            clock.now += 0.001
            callback.on_train_batch_end(step, {"loss": Value()})
    assert 0 < Value.read <= 10  # A second has passed


def test_validation_counts_in_the_time_left(clock, stream):
    run(Progress(16, 3, 10), clock, 3, 10, 1.0, validation=20.0)
    assert [line.rpartition("  ")[2] for line in stream.getvalue().splitlines()] == [
        "60 s left",
        "30 s left",
        "0 s left",
    ]


def test_later_epochs_have_their_numbers(clock, stream):
    run(Progress(16, 5, 10), clock, 5, 10, 1.0, first=3)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and lines[0].startswith("epoch 4/5") and lines[0].endswith("16 images/s  10 s left")


def test_another_stream_than_stderr(clock, stream):
    other = io.StringIO()
    run(Progress(16, 1, 10, stream=other), clock, 1, 10, 1.0)
    assert other.getvalue().startswith("epoch 1/1") and stream.getvalue() == ""


def test_a_narrow_terminal_has_one_line_too(clock, stream, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    stream.terminal = True
    with Progress(16, 300, 12500, waited=lambda: 0.0) as callback:
        callback.on_epoch_begin(0)
        for step in range(5):
            clock.now += 0.3
            callback.on_train_batch_end(step, {"loss": 0.5, "accuracy": 0.9})
        lines = re.sub(r"\x1b\[[?\d]*\w", "", stream.getvalue()).replace("\r", "\n").splitlines()
    shown = [line for line in lines if line]
    assert shown[-1] == "epoch 1/300  step 5/12500  loss 0.5000  312 h 30 min left", shown


def test_a_terminal_keeps_the_epochs(clock, stream):
    stream.terminal = True
    run(Progress(16, 2, 10), clock, 2, 10, 0.3, validation=1.0)
    text = stream.getvalue()
    assert text.count("validation loss 0.2500  validation accuracy 95.00%  53 images/s  ") == 2  # Not folded
    for rest in text.split("validation accuracy")[1:]:
        assert not re.match(r"[^\n]*\n[^\r]*step 10/10", rest)


def test_a_terminal_has_one_line_and_is_left_clean(clock, stream):
    stream.terminal = True
    callback = Progress(16, 3, 10)
    with pytest.raises(KeyboardInterrupt), callback:
        callback.on_epoch_begin(0)
        for step in range(5):
            clock.now += 0.3
            callback.on_train_batch_end(step, {"loss": 0.5, "accuracy": 0.9})
        raise KeyboardInterrupt
    text = stream.getvalue()
    assert "step 5/10" in text and text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # The cursor is back
    assert re.search(r"\x1b\[2K[^\w]*$", text)  # The line is gone


def test_nothing_is_shown_when_asked_to_be_quiet(clock, stream):
    callback = Progress(16, 3, 10, show=False)
    run(callback, clock, 3, 10, 0.5)
    assert stream.getvalue() == "" and callback.images_per_second == 32 and callback.waiting is None


def test_steps_are_counted_in_a_real_fit(stream):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=4)
    x, y = np.zeros((40, 4)), np.zeros(40)
    callback = Progress(4, 2, 10)
    with callback:
        model.fit(x, y, batch_size=4, epochs=2, validation_data=(x, y), verbose=0, callbacks=[callback])
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and "validation accuracy" in lines[1] and "0 s left" in lines[1]
    assert (callback._first[0], callback._sums[0]) == (4, 16)  # Of 2 x 10 steps, though Keras counts 2 x 12
