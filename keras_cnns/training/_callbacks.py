"""What watches a training: Ctrl-C, and the names of a network's values when it has several heads."""

import signal
import threading

import keras


class CtrlC(keras.callbacks.Callback):
    """Stops the training behind the step in which Ctrl-C came; a second Ctrl-C stops it at once.

    Python raises KeyboardInterrupt wherever it happens to be, and where that is a destructor or a callback from C, the
    interrupt is lost.
    """

    def __init__(self):
        super().__init__()
        self.came = False

    def __enter__(self):
        self.main = threading.current_thread() is threading.main_thread()  # signals are for it alone
        if self.main:
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error):
        if self.main:
            signal.signal(signal.SIGINT, self.before)

    def _note(self, *signal_and_frame):
        if self.came:
            raise KeyboardInterrupt
        self.came = True

    def check(self, step=None, logs=None):
        """Raise KeyboardInterrupt if Ctrl-C came."""
        if self.came:
            raise KeyboardInterrupt

    on_train_batch_end = on_test_batch_end = check


class MainHead(keras.callbacks.Callback):
    """Gives the main head's loss and accuracy the names that they have in a network of one head.

    Keras calls the weighted sum of all heads "loss"; here it is "total_loss". It must stand before the callbacks that
    are to see the names, as all of them get the same dictionary.
    """

    def on_epoch_end(self, epoch, logs=None):
        """Rename what an epoch gave, in place."""
        main = self.model.output_names[0]
        if len(self.model.output_names) == 1:
            return
        for prefix in ("", "val_"):
            if logs.pop(f"{prefix}{main}_loss", None) is not None:
                logs[f"{prefix}total_loss"] = logs[f"{prefix}loss"]
                logs[f"{prefix}loss"] = logs.pop(f"{prefix}{main}_cross_entropy")
                logs[f"{prefix}accuracy"] = logs.pop(f"{prefix}{main}_accuracy")
