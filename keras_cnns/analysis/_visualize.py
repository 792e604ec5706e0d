"""Drawings of what is inside a model, one function a kind, for the command and the report."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_cnns import _graph, _models, _render
from keras_cnns._text import counted
from keras_cnns.analysis import _classes, _outputs
from keras_cnns.analysis._filters import filters
from keras_cnns.analysis.activations import feature_maps, top_activations
from keras_cnns.analysis.class_maps import class_activation_map, grad_cam, last_maps
from keras_cnns.analysis.deconvnet import draw_projections
from keras_cnns.analysis.embedding import embed, features
from keras_cnns.analysis.invariance import invariance_curve
from keras_cnns.analysis.occlusion import occlusion_map
from keras_cnns.analysis.saliency_maps import guided, saliency
from keras_cnns.analysis.units import gradient_flow, unit_activity
from keras_cnns.analysis.visualizations import VISUALIZATIONS
from keras_cnns.errors import ArgumentError, nearest

UNITS = 8  # of a layer, where none are named
IMAGES = 12  # at most, on a drawing that shows each
MOVED = 30  # at most, of which invariance is measured


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Images to look at.

    Attributes:
        pixels: uint8 (images, height, width, 1 or 3), of the model's size.
        images: float32 of the same shape, normalized as the model takes them.
        names: one an image.
        labels: int64 (images,), or None where the classes are not known.
    """

    pixels: np.ndarray
    images: np.ndarray
    names: Sequence[str]
    labels: np.ndarray | None = None

    def first(self, count):
        """Return the first ones."""
        labels = None if self.labels is None else self.labels[:count]
        return ImageSet(self.pixels[:count], self.images[:count], self.names[:count], labels)


def read_images(paths, preprocessing):
    """Return `Images` of files, resized and cropped as the record says; raise SourceError if one cannot be read."""
    from keras_cnns.data.pipeline import read_files

    pixels = read_files(paths, preprocessing)
    return ImageSet(pixels, _normalized(pixels, preprocessing), [Path(path).name for path in paths])


def sample_images(split, preprocessing, class_names, count):
    """Return `Images` of at most `count` examples spread over a split; raise SourceError if one cannot be read."""
    from keras_cnns.data.pipeline import read_pixels

    pixels, labels = read_pixels(split.sample(count), preprocessing)
    return ImageSet(pixels, _normalized(pixels, preprocessing), [class_names[label] for label in labels], labels)


def visualize(model, kind, path, images=None, *, class_names=None, layer=None, units=None, target=None):
    """Draw what is inside a model, and return a sentence on what the drawing says.

    Args:
        model: functional or sequential classifier of images, of any origin.
        kind: a name of `VISUALIZATIONS`.
        path: PNG file to write.
        images: `Images`; None for a kind that needs nothing but the model.
        class_names: in order; None: their numbers.
        layer: name of the layer to look at; None: of filters and features the first convolution, of projections the
            last layer that gives maps.
        units: numbers of its channels; None: the first ones, of projections those most active.
        target: number of the class asked about; None: the most probable of each image.

    Raises:
        ArgumentError: (a ValueError) if the kind is not known, lacks its images, or the model does not allow it.
        OutputError: if the file cannot be written.
    """
    if kind not in VISUALIZATIONS:
        raise ArgumentError(
            f"`kind` must be one of {', '.join(VISUALIZATIONS)}.{nearest(kind, VISUALIZATIONS)} Received: kind={kind!r}"
        )
    if VISUALIZATIONS[kind].needs != "nothing" and (images is None or not len(images.images)):
        raise ArgumentError(f"`{kind}` looks at images: give some. Received: images=None")
    if VISUALIZATIONS[kind].needs == "labels" and images.labels is None:
        raise ArgumentError(f"`{kind}` needs images whose classes are known. Received: images without labels")
    model = _models.two_classes(_models.main_output(model), class_names or ())
    _models.one_image_input(model)
    classes = model.outputs[0].shape[-1]
    if target is not None:
        _classes.targets_of(np.empty((1, classes)), target)
    names = _models.names_of_classes(class_names, classes)
    if layer is not None:
        layer = _graph.check_layer(model, layer)
    return DRAWN[kind](model, path, images, names, layer, units, target)


def _filters(model, path, images, names, layer, units, target):
    layer = layer or _first_convolution(model)
    found = filters(model, layer)
    count, height, width, channels = found.shape
    _render.filter_grid(found, path, f"{model.name}: filters of {layer}", _units(units, count, layer))
    return f"{layer}: {counted(count, 'filter')} of {height}x{width} on {counted(channels, 'channel')}."


def _features(model, path, images, names, layer, units, target):
    layer = layer or _first_convolution(model)
    maps = feature_maps(model, images.images[:1], layer)
    if maps.ndim != 4:
        raise ArgumentError(f"`layer` must give maps; {layer} gives a vector. Received: layer={layer!r}")
    title = f"{model.name}: what {layer} gives for {images.names[0]}"
    _render.feature_map_grid(maps[0], path, title, _units(units, maps.shape[-1], layer))
    silent = int((maps[0] <= 0).all((0, 1)).sum())
    size = f"{maps.shape[1]}x{maps.shape[2]}, {counted(maps.shape[3], 'channel')}"
    return f"{layer}: {size}, {silent} of which are nowhere above zero for {images.names[0]}."


def _deconv(model, path, images, names, layer, units, target):
    layer = layer or last_maps(model, images.images.shape[1:])
    if units is None:
        count = _channels(model, layer)
        every = top_activations(model, images.images, layer, range(count), 1)
        units = sorted(range(count), key=lambda unit: -every[unit].values[0])[:UNITS]
    tops = draw_projections(model, images.images, layer, units, path)
    strongest = ", ".join(f"unit {top.unit}: {images.names[top.indices[0]]}" for top in tops)
    return f"{layer}, the image that excites most among {counted(len(images.images), 'image')}: {strongest}."


def _cam(model, path, images, names, layer, units, target):
    images = images.first(IMAGES)
    found, what, label = None, "class activation map", "evidence; mean + bias = logit"
    if layer is None:
        with contextlib.suppress(ArgumentError):  # it has another end
            found = class_activation_map(model, images.images, target)
    if found is None:
        found, what, label = grad_cam(model, images.images, layer, target), "Grad-CAM", "evidence (no unit)"
    texts = [
        [(name, ""), (names[chosen], f": {score:.1f}")]
        for name, chosen, score in zip(images.names, found.targets, found.scores, strict=True)
    ]
    title = f"{model.name}: {what} at {found.layer}; the class and its logit"
    _render.class_map_grid(images.pixels, found.on_images(), texts, path, title, label)
    return f"{what}, at {found.layer}."


def _occlusion(model, path, images, names, layer, units, target):
    images = images.first(4)
    found = occlusion_map(model, images.images, target)
    tall, wide = found.size
    _render.occlusion_grid(images.pixels, found, names, path, f"{model.name}: a window of {tall}x{wide} hidden")
    lowest = found.scores.min((1, 2))
    said = [
        f"{name}: {names[chosen]} {before:.1%}, at worst {least:.1%}"
        for name, chosen, before, least in zip(images.names, found.targets, found.unoccluded, lowest, strict=True)
    ]
    return f"{'; '.join(said)}."


def _saliency(model, path, images, names, layer, units, target, of=saliency, what="saliency"):
    images = images.first(IMAGES)
    found = of(model, images.images, target)
    maps = found.maps
    maps = maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-30)
    texts = [[(name, ""), (names[k], "")] for name, k in zip(images.names, found.targets, strict=True)]
    title = f"{model.name}: {what}"
    _render.class_map_grid(images.pixels, maps, texts, path, title, "gradient, share of the largest", (0, 1))
    return f"{what} of {', '.join(names[chosen] for chosen in dict.fromkeys(found.targets.tolist()))}."


def _guided(*arguments):
    return _saliency(*arguments, of=guided, what="guided gradient")


def _invariance(model, path, images, names, layer, units, target):
    images = images.first(MOVED)
    curves = [
        invariance_curve(model, images.images, kind, target=target, first=None, last=layer)
        for kind in ("translation", "scale", "rotation")
    ]
    _render.invariance_curves(curves, path, f"{model.name}: {counted(len(images.images), 'image')} moved", names)
    said = ", ".join(f"{curve.kind} {curve.probability.min(1).mean():.1%}" for curve in curves)
    return f"lowest probability of the class, mean of {counted(len(images.images), 'image')}: {said}."


def _activity(model, path, images, names, layer, units, target):
    found = unit_activity(model, images.images, None if layer is None else [layer])
    title = f"{model.name}: activity of its units on {counted(len(images.images), 'image')}"
    _render.unit_activity_chart(found, path, title)
    dead, units = sum(len(layer.dead) for layer in found), sum(len(layer.mean) for layer in found)
    zeros = np.mean([layer.sparsity for layer in found])
    return f"{dead} of {counted(units, 'unit')} dead; {zeros:.0%} zeros, mean of the layers."


def _gradients(model, path, images, names, layer, units, target):
    count = _models.batch_size_for(*images.images.shape[1:3]) // 4
    images = images.first(max(1, count))
    found = gradient_flow(model, images.images, images.labels)
    title = f"{model.name}: gradient of the loss of {counted(len(images.images), 'image')}"
    _render.gradient_flow_chart(found, path, title)
    ends = (f"{one.gradient_norm:.2g} at {one.layer}" for one in (found[0], found[-1]))
    return f"norm of the gradient from {' to '.join(ends)}."


def _embedding(model, path, images, names, layer, units, target):
    layer = layer or _outputs.last_layer(_outputs.subject(model))
    points = embed(features(model, images.images, layer))
    title = f"{model.name}: {counted(len(points), 'image')} by their features at {layer}"
    _render.embedding_scatter(points, images.labels, names, path, title)
    return f"{counted(len(points), 'image')} by {layer}."


DRAWN = {
    "filters": _filters,
    "features": _features,
    "deconv": _deconv,
    "cam": _cam,
    "occlusion": _occlusion,
    "saliency": _saliency,
    "guided": _guided,
    "invariance": _invariance,
    "activity": _activity,
    "gradients": _gradients,
    "embedding": _embedding,
}


def _normalized(pixels, preprocessing):
    return np.asarray(preprocessing.normalize(pixels.astype("float32")), "float32")


def _units(units, count, layer):
    """Return the units asked for; raise ArgumentError if there is no such one."""
    wrong = [unit for unit in units or () if not 0 <= unit < count]
    if wrong:
        raise ArgumentError(f"`units` of {layer} are numbers from 0 to {count - 1}. Received: units={wrong}")
    return units


def _channels(model, layer):
    return next(use.outputs[0].shape[-1] for use in _graph.walk(model)[1] if use.name == layer)


def _first_convolution(model):
    """Return the name of the first layer whose filters can be shown; raise ArgumentError if there is none."""
    for use in _graph.walk(model)[1]:
        try:
            filters(model, use.name)
        except ArgumentError:
            continue
        return use.name
    raise ArgumentError(f"{model.name}: has no convolution; name a layer. Received: layer=None")
