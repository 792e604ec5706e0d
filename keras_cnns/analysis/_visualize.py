"""Plots of what is inside a model, one function per kind."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_cnns import _graph, _models, _render
from keras_cnns._text import counted
from keras_cnns.analysis import _classes, _outputs
from keras_cnns.analysis._filters import filters
from keras_cnns.analysis._image_set import ImageSet
from keras_cnns.analysis.activations import feature_maps, top_activations
from keras_cnns.analysis.class_maps import class_activation_map, grad_cam, last_maps
from keras_cnns.analysis.deconvnet import draw_projections
from keras_cnns.analysis.embedding import embed, features
from keras_cnns.analysis.invariance import TRANSFORMS, invariance_curve
from keras_cnns.analysis.occlusion import occlusion_map
from keras_cnns.analysis.saliency_maps import Saliency, guided, saliency
from keras_cnns.analysis.units import gradient_flow, unit_activity
from keras_cnns.analysis.visualizations import VISUALIZATIONS
from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.tasks import classifiers
from keras_cnns.typing import Path

MOST_UNITS = 8  # units of a layer that "deconv" shows if none are named
MOST_IMAGES = 12  # images in a grid
MOST_OCCLUDED = 4  # images whose occlusion is measured: each is predicted hundreds of times
MOST_TRANSFORMED = 30  # images whose invariance is measured


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """What to plot, as all plotting functions take it.

    Attributes:
        model: functional `keras.Model` from images to one vector per image.
        path: PNG file to write.
        images: to visualize; without images for a kind that needs only the model.
        class_names: one per class.
        layer: name of the layer; None: each kind's default.
        units: numbers of the layer's channels; None: each kind's default.
        target: number of the target class; None: the most probable class of each image.
    """

    model: keras.Model
    path: Path
    images: ImageSet
    class_names: Sequence[str]
    layer: str | None
    units: Sequence[int] | None
    target: int | None

    def with_first_images(self, count: int) -> "Request":
        """Return the request with the first `count` images only."""
        return dataclasses.replace(self, images=self.images.first(count))


# For kinds that need only the model
NO_IMAGES = ImageSet(np.empty((0, 0, 0, 1), "uint8"), np.empty((0, 0, 0, 1), "float32"), ())


def visualize(
    model: keras.Model,
    kind: str,
    path: Path,
    images: ImageSet | None = None,
    *,
    class_names: Sequence[str] | None = None,
    layer: str | keras.Layer | None = None,
    units: Sequence[int] | None = None,
    target: int | None = None,
) -> str:
    """Plot what is inside a model, and return a summary sentence.

    Args:
        model: functional or sequential classifier of images, of any origin.
        kind: a name of `VISUALIZATIONS`.
        path: PNG file to write.
        images: to visualize; None for a kind that needs only the model.
        class_names: one per class; None: the numbers of the classes.
        layer: the layer to visualize, or its name; None: the first convolution for filters and features, the last
            layer that outputs maps for projections.
        units: numbers of the layer's channels; None: the first ones, for projections the most active ones.
        target: number of the target class; None: the most probable class of each image.

    Raises:
        ArgumentError: (a ValueError) if the kind is unknown or lacks its images, or the model does not allow it.
        OutputError: if the file cannot be written.
    """
    if kind not in VISUALIZATIONS:
        raise ArgumentError(
            f"`kind` must be one of {', '.join(VISUALIZATIONS)}.{nearest(kind, VISUALIZATIONS)} Received: kind={kind!r}"
        )
    images = NO_IMAGES if images is None else images
    if VISUALIZATIONS[kind].needs != "nothing" and not len(images.images):
        raise ArgumentError(f"`{kind}` needs images: pass `images`. Received: images=None")
    if VISUALIZATIONS[kind].needs == "labels" and images.labels is None:
        raise ArgumentError(f"`{kind}` needs images whose classes are known. Received: images without labels")
    model = classifiers.two_classes(_models.main_output(model), class_names or ())
    classifiers.one_image_input(model)
    classes = model.outputs[0].shape[-1]
    if target is not None:
        _classes.resolve_targets(np.empty((1, classes)), target)
    request = Request(
        model=model,
        path=path,
        images=images,
        class_names=classifiers.names_of_classes(class_names or (), classes),
        layer=None if layer is None else _graph.check_layer(model, layer),
        units=units,
        target=target,
    )
    return PLOTS[kind](request)


def _plot_filters(request: Request) -> str:
    model, layer = request.model, request.layer or _first_convolution(request.model)
    kernels = filters(model, layer)
    count, height, width, channels = kernels.shape
    units = _check_units(request.units, count, layer)
    _render.filter_grid(kernels, request.path, f"{model.name}: filters of {layer}", units)
    return f"{layer}: {counted(count, 'filter')} of {height}x{width} on {counted(channels, 'channel')}."


def _plot_features(request: Request) -> str:
    model, layer = request.model, request.layer or _first_convolution(request.model)
    maps = feature_maps(model, request.images.images[:1], layer)
    if maps.ndim != 4:
        raise ArgumentError(f"`layer` must output maps; {layer} outputs a vector. Received: layer={layer!r}")
    image_name = request.images.names[0]
    title = f"{model.name}: output of {layer} for {image_name}"
    _render.feature_map_grid(maps[0], request.path, title, _check_units(request.units, maps.shape[-1], layer))
    silent = int((maps[0] <= 0).all((0, 1)).sum())
    size = f"{maps.shape[1]}x{maps.shape[2]}, {counted(maps.shape[3], 'channel')}"
    return f"{layer}: {size}, {silent} of which are nowhere above zero for {image_name}."


def _plot_deconv(request: Request) -> str:
    model, images = request.model, request.images.images
    layer, units = request.layer or last_maps(model, images.shape[1:]), request.units
    if units is None:
        count = _outputs.layer_shape(model, layer)[-1] or 0
        strongest_of = top_activations(model, images, layer, range(count), 1)
        units = sorted(range(count), key=lambda unit: -strongest_of[unit].values[0])[:MOST_UNITS]
    tops = draw_projections(model, images, layer, units, request.path)
    strongest = ", ".join(f"unit {top.unit}: {request.images.names[top.indices[0]]}" for top in tops)
    return f"{layer}, the image that excites most among {counted(len(images), 'image')}: {strongest}."


def _plot_cam(request: Request) -> str:
    request = request.with_first_images(MOST_IMAGES)
    model, images, names = request.model, request.images, request.class_names
    class_map, method, label = None, "class activation map", "evidence; mean + bias = logit"
    if request.layer is None:
        with contextlib.suppress(ArgumentError):  # the network does not end with a global average pool
            class_map = class_activation_map(model, images.images, request.target)
    if class_map is None:
        class_map = grad_cam(model, images.images, request.layer, request.target)
        method, label = "Grad-CAM", "evidence (no unit)"
    texts = [
        [(name, ""), (names[target], f": {score:.1f}")]
        for name, target, score in zip(images.names, class_map.targets, class_map.scores, strict=True)
    ]
    title = f"{model.name}: {method} at {class_map.layer}; the class and its logit"
    _render.class_map_grid(images.pixels, class_map.on_images(), texts, request.path, title, label)
    return f"{method}, at {class_map.layer}."


def _plot_occlusion(request: Request) -> str:
    request = request.with_first_images(MOST_OCCLUDED)
    model, images, names = request.model, request.images, request.class_names
    occlusion = occlusion_map(model, images.images, request.target)
    height, width = occlusion.size
    title = f"{model.name}: a window of {height}x{width} hidden"
    _render.occlusion_grid(images.pixels, occlusion, names, request.path, title)
    lowest = occlusion.scores.min((1, 2))
    summaries = [
        f"{name}: {names[target]} {before:.1%}, at worst {least:.1%}"
        for name, target, before, least in zip(
            images.names, occlusion.targets, occlusion.unoccluded, lowest, strict=True
        )
    ]
    return f"{'; '.join(summaries)}."


def _plot_saliency(request: Request) -> str:
    return _plot_gradient_of_score(request, saliency, "saliency")


def _plot_guided(request: Request) -> str:
    return _plot_gradient_of_score(request, guided, "guided gradient")


def _plot_gradient_of_score(request: Request, compute: Callable[..., Saliency], method: str) -> str:
    """Plot `saliency` or `guided`; each map is scaled by its largest value."""
    request = request.with_first_images(MOST_IMAGES)
    images, names = request.images, request.class_names
    result = compute(request.model, images.images, request.target)
    maps = result.maps / np.maximum(result.maps.max((1, 2), keepdims=True), 1e-30)
    texts = [[(name, ""), (names[k], "")] for name, k in zip(images.names, result.targets, strict=True)]
    title, label = f"{request.model.name}: {method}", "gradient, share of the largest"
    _render.class_map_grid(images.pixels, maps, texts, request.path, title, label, (0, 1))
    return f"{method} of {', '.join(names[target] for target in dict.fromkeys(result.targets.tolist()))}."


def _plot_invariance(request: Request) -> str:
    request = request.with_first_images(MOST_TRANSFORMED)
    model, images = request.model, request.images.images
    curves = [
        invariance_curve(model, images, kind, target=request.target, first=None, last=request.layer)
        for kind in TRANSFORMS
    ]
    title = f"{model.name}: {counted(len(images), 'image')} transformed"
    _render.invariance_curves(curves, request.path, title, request.class_names)
    lowest = ", ".join(f"{curve.kind} {curve.probability.min(1).mean():.1%}" for curve in curves)
    return f"lowest probability of the class, mean of {counted(len(images), 'image')}: {lowest}."


def _plot_activity(request: Request) -> str:
    images = request.images.images
    activities = unit_activity(request.model, images, None if request.layer is None else [request.layer])
    title = f"{request.model.name}: activity of its units on {counted(len(images), 'image')}"
    _render.unit_activity_chart(activities, request.path, title)
    dead = sum(len(activity.dead) for activity in activities)
    units = sum(len(activity.mean) for activity in activities)
    zeros = np.mean([activity.sparsity for activity in activities])
    return f"{dead} of {counted(units, 'unit')} dead; {zeros:.0%} zeros, mean of the layers."


def _plot_gradients(request: Request) -> str:
    # One batch, and a quarter of it, because all activations stay in memory for the gradient.
    count = _models.batch_size_for(*request.images.images.shape[1:3]) // 4
    images = request.images.first(max(1, count))
    flows = gradient_flow(request.model, images.images, images.labels)
    title = f"{request.model.name}: gradient of the loss of {counted(len(images.images), 'image')}"
    _render.gradient_flow_chart(flows, request.path, title)
    ends = (f"{flow.gradient_norm:.2g} at {flow.layer}" for flow in (flows[0], flows[-1]))
    return f"norm of the gradient from {' to '.join(ends)}."


def _plot_embedding(request: Request) -> str:
    model, images = request.model, request.images
    layer = request.layer or _outputs.last_layer(_outputs.prepare_model(model))
    assert images.labels is not None  # `visualize` has checked what each kind needs
    points = embed(features(model, images.images, layer))
    title = f"{model.name}: {counted(len(points), 'image')} by their features at {layer}"
    _render.embedding_scatter(points, images.labels, request.class_names, request.path, title)
    return f"{counted(len(points), 'image')} by {layer}."


PLOTS: dict[str, Callable[[Request], str]] = {
    "filters": _plot_filters,
    "features": _plot_features,
    "deconv": _plot_deconv,
    "cam": _plot_cam,
    "occlusion": _plot_occlusion,
    "saliency": _plot_saliency,
    "guided": _plot_guided,
    "invariance": _plot_invariance,
    "activity": _plot_activity,
    "gradients": _plot_gradients,
    "embedding": _plot_embedding,
}


def _check_units(units: Sequence[int] | None, count: int, layer: str) -> Sequence[int] | None:
    """Return the units as they are.

    Raises:
        ArgumentError: if the layer, which has `count` units, lacks one of them.
    """
    unknown = [unit for unit in units or () if not 0 <= unit < count]
    if unknown:
        raise ArgumentError(f"`units` of {layer} are numbers from 0 to {count - 1}. Received: units={unknown}")
    return units


def _first_convolution(model: keras.Model) -> str:
    """Return the name of the first layer that has filters.

    Raises:
        ArgumentError: if there is none.
    """
    for use in _graph.walk(model)[1]:
        try:
            filters(model, use.name)
        except ArgumentError:
            continue
        return use.name
    raise ArgumentError(f"{model.name}: has no convolution; name a layer. Received: layer=None")
