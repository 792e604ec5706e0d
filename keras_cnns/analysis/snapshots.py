"""Snapshots of feature maps during a training run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_cnns import _render
from keras_cnns.analysis import _classes, _outputs
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Images, Path

PAPER_EPOCHS = 1, 2, 5, 10, 20, 30, 40, 64
METHODS = ("strongest", "mean")


class FeatureSnapshots(keras.callbacks.Callback):
    """Record feature maps of a few images at chosen epochs.

    Pass it to `model.fit`. Together with `training.callbacks`, put it before them. If a training run is resumed, the
    callback records only the epochs after the resumption.

    Args:
        images: float32 (images, height, width, channels), as the model takes them; the same at all epochs.
        layers: name of a layer that outputs maps, or several names; or a dictionary from each name to the numbers of
            the units to record, None for all of them.
        epochs: when to record: after these epochs, counted from 1; 0 is before the first step. The default is the
            paper's.
        method: "strongest": for each unit, the map of the image with the unit's highest value; "mean": the mean over
            the images.

    Attributes:
        taken: epochs recorded so far, list of integers.
        maps: from each layer to float32 (epochs taken, units, height, width).
        images: with "strongest", from each layer to int64 (epochs taken, units), indices of the images.
        units: from each layer to the numbers of its units.

    Raises:
        ArgumentError: (a ValueError) if the epochs or the method are invalid; or, when training begins, if a layer or
            a unit does not exist.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, 2014, section 4 and figure 4.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> images, labels = np.random.default_rng(0).normal(size=(16, 32, 32, 1)), np.arange(16) % 10
        >>> model = applications.LeNet5(head="softmax")
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> snapshots = analysis.FeatureSnapshots(images[:2], ["C1", "C3"], epochs=(1, 2))
        >>> history = model.fit(images, labels, epochs=2, verbose=0, callbacks=[snapshots])
        >>> snapshots.taken, snapshots.maps["C3"].shape
        ([1, 2], (2, 16, 10, 10))
        >>> snapshots.draw("features.png", "Features")
    """

    def __init__(
        self,
        images: Images,
        layers: str | Sequence[str] | Mapping[str, Sequence[int] | None],
        epochs: Iterable[int] = PAPER_EPOCHS,
        method: str = "strongest",
    ) -> None:
        super().__init__()
        if isinstance(layers, str):
            layers = [layers]
        self._wanted: dict[str, Any] = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers)
        self._epochs = set(epochs)
        if not self._wanted:
            raise ArgumentError(f"`layers` must name a layer. Received: layers={layers!r}")
        whole = all(isinstance(epoch, (int, np.integer)) and epoch >= 0 for epoch in self._epochs)
        if not self._epochs or not whole:
            raise ArgumentError(f"`epochs` must be whole numbers from 0 on. Received: epochs={epochs!r}")
        if method not in METHODS:
            raise ArgumentError(f"`method` must be one of {', '.join(METHODS)}. Received: method={method!r}")
        self._images, self._method = images, method
        self.taken: list[int] = []
        self.maps: dict[str, np.ndarray] = {}
        self.images: dict[str, np.ndarray] = {}
        self.units: dict[str, np.ndarray] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check that the layers and units exist."""
        self._images = _classes.check_images(self.model, self._images)
        for layer, units in self._wanted.items():
            name = _outputs.check_one_output(self.model, layer)
            shape = _outputs.layer_shape(self.model, name)
            if len(shape) != 4:
                raise ArgumentError(f"`layers` must output maps; {name} outputs vectors. Received: layers={layer!r}")
            self.units[name] = _check_units(units, shape[-1] or 0, name)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the maps before the first step."""
        if epoch == 0 and 0 in self._epochs:
            self._take(0)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the maps after an epoch."""
        if epoch + 1 in self._epochs:
            self._take(epoch + 1)

    def draw(self, path: Path, title: str, units: int = 8) -> None:
        """Draw the recorded maps as a grid, epochs across and units down.

        Args:
            path: PNG file to write.
            title: title of the grid.
            units: number of units per layer, the first ones.

        Raises:
            ArgumentError: if nothing has been recorded.
            OutputError: if the file cannot be written.
        """
        if not self.taken:
            raise ArgumentError(f"no snapshot has been taken. Received: epochs={sorted(self._epochs)}")
        rows = {layer: (self.units[layer][:units], maps[:, :units]) for layer, maps in self.maps.items()}
        _render.snapshot_grid(rows, self.taken, path, title)

    def _take(self, epoch: int) -> None:
        """Record the maps of all layers."""
        parts: dict[str, list[np.ndarray]] = {layer: [] for layer in self.units}
        for batch in _outputs.iterate_batches(self.model, self._images):
            for layer, output in _outputs.layer_outputs(self.model, batch, self.units)[0].items():
                parts[layer].append(output[..., self.units[layer]])
        self.taken.append(epoch)
        for layer, part in parts.items():
            maps = np.concatenate(part)  # (images, height, width, units)
            if self._method == "mean":
                snapshot = maps.mean(0)
            else:
                strongest = maps.max((1, 2)).argmax(0)
                snapshot = np.take_along_axis(maps, strongest[None, None, None], 0)[0]
                self.images[layer] = _append(self.images.get(layer), strongest)
            self.maps[layer] = _append(self.maps.get(layer), np.moveaxis(snapshot, -1, 0))


def _check_units(units: Any, count: int, layer: str) -> np.ndarray:
    """Return the numbers of units as int64; None means all units."""
    numbers = np.arange(count) if units is None else np.asarray(units)
    listed = numbers.ndim == 1 and len(numbers) and numbers.dtype.kind in "iu"
    if not listed or numbers.min() < 0 or numbers.max() >= count:
        raise ArgumentError(
            f"the units of {layer} must be a list of whole numbers from 0 to {count - 1}. Received: units={units!r}"
        )
    return numbers.astype("int64")


def _append(snapshots: np.ndarray | None, snapshot: np.ndarray) -> np.ndarray:
    """Return snapshots with one more along the first axis."""
    return snapshot[None] if snapshots is None else np.concatenate([snapshots, snapshot[None]])
