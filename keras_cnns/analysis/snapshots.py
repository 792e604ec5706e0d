"""Features as they come about in training."""

import keras
import numpy as np

from keras_cnns import _graph, _render
from keras_cnns.analysis import _classes, _outputs
from keras_cnns.errors import ArgumentError

PAPER_EPOCHS = 1, 2, 5, 10, 20, 30, 40, 64
METHODS = ("strongest", "mean")


class FeatureSnapshots(keras.callbacks.Callback):
    """Keeps feature maps of a few images at chosen epochs of a training.

    For the user's own `model.fit`; beside `training.callbacks` it stands before those. A training that goes on from a
    checkpoint has the epochs behind it alone.

    Args:
        images: float32 (images, height, width, channels), as the model takes them; the same at all epochs.
        layers: name of a layer that gives maps, or several; or a dictionary from each to the numbers of the units
            wanted, None for all of them.
        epochs: when to look, counted from 1 and behind the epoch; 0 is before the first step. The default is the
            paper's.
        method: "strongest": of each unit the map of the image in which it reaches its highest value; "mean": the
            mean over the images.

    Attributes:
        taken: epochs that have been, list of whole numbers.
        maps: from each layer to float32 (epochs taken, units, height, width).
        images: with "strongest", from each layer to int64 (epochs taken, units), numbers of the images.
        units: from each layer to the numbers of its units.

    Raises:
        ArgumentError: (a ValueError) if the epochs or the method are none; when the training begins, if a layer or a
            unit does not exist.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, 2014, section 4 and figure 4.
    """

    def __init__(self, images, layers, epochs=PAPER_EPOCHS, method="strongest"):
        super().__init__()
        if isinstance(layers, str):
            layers = [layers]
        self._wanted = dict(layers) if isinstance(layers, dict) else dict.fromkeys(layers)
        self._epochs = set(epochs)
        if not self._wanted:
            raise ArgumentError(f"`layers` must name a layer. Received: layers={layers!r}")
        if not self._epochs or not all(isinstance(one, (int, np.integer)) and one >= 0 for one in self._epochs):
            raise ArgumentError(f"`epochs` must be whole numbers from 0 on. Received: epochs={epochs!r}")
        if method not in METHODS:
            raise ArgumentError(f"`method` must be one of {', '.join(METHODS)}. Received: method={method!r}")
        self._images, self._method = images, method
        self.taken, self.maps, self.images, self.units = [], {}, {}, {}

    def on_train_begin(self, logs=None):
        """Check that the layers and units exist."""
        self._images = _classes.check_images(self.model, self._images)
        for layer, units in self._wanted.items():
            name = _outputs.check_one_output(self.model, layer)
            shape = next(use.outputs[0].shape for use in _graph.walk(self.model)[1] if use.name == name)
            if len(shape) != 4:
                raise ArgumentError(f"`layers` must give maps; {name} gives vectors. Received: layers={layer!r}")
            found = np.arange(shape[-1]) if units is None else np.asarray(units)
            listed = found.ndim == 1 and len(found) and found.dtype.kind in "iu"
            if not listed or found.min() < 0 or found.max() >= shape[-1]:
                raise ArgumentError(
                    f"the units of {name} must be a list of whole numbers from 0 to {shape[-1] - 1}. "
                    f"Received: units={units!r}"
                )
            self.units[name] = found.astype("int64")

    def on_epoch_begin(self, epoch, logs=None):
        """Take the snapshot before the first step."""
        if epoch == 0 and 0 in self._epochs:
            self._take(0)

    def on_epoch_end(self, epoch, logs=None):
        """Take the snapshot behind an epoch."""
        if epoch + 1 in self._epochs:
            self._take(epoch + 1)

    def draw(self, path, title, units=8):
        """Draw the snapshots taken as one PNG: epochs across, units down.

        Args:
            path: of the file to write.
            title: above the image.
            units: of each layer so many, the first ones.

        Raises:
            ArgumentError: if none has been taken.
            OutputError: if the file cannot be written.
        """
        if not self.taken:
            raise ArgumentError(f"no snapshot has been taken. Received: epochs={sorted(self._epochs)}")
        rows = {layer: (self.units[layer][:units], maps[:, :units]) for layer, maps in self.maps.items()}
        _render.snapshot_grid(rows, self.taken, path, title)

    def _take(self, epoch):
        found = {layer: [] for layer in self.units}
        for batch in _outputs.batches(self.model, self._images):
            for layer, maps in _outputs.outputs_of(self.model, batch, self.units)[0].items():
                found[layer].append(maps[..., self.units[layer]])
        self.taken.append(epoch)
        for layer, parts in found.items():
            maps = np.concatenate(parts)  # (images, height, width, units)
            if self._method == "mean":
                kept = maps.mean(0)
            else:
                best = maps.max((1, 2)).argmax(0)
                kept = np.take_along_axis(maps, best[None, None, None], 0)[0]
                self.images[layer] = _appended(self.images.get(layer), best)
            self.maps[layer] = _appended(self.maps.get(layer), np.moveaxis(kept, -1, 0))


def _appended(before, one):
    return one[None] if before is None else np.concatenate([before, one[None]])
