"""Options that describe a MODEL saved by another program."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from keras_cnns.cli import _options

if TYPE_CHECKING:
    import keras

    from keras_cnns.data.preprocessing import Preprocessing
    from keras_cnns.saving import ModelInfo

SECTION = "Models of other programs"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep an option's value in the command's context, for `given`."""
    context.meta[f"keras_cnns.{parameter.name}"] = value


def given(name: str) -> Any:
    """Return the value of one of the `model_options`.

    It is None, or () for an option that may be repeated, if the option was not given.
    """
    context = click.get_current_context(silent=True)
    return context and context.meta.get(f"keras_cnns.{name}")


def _keep_numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> None:
    """Keep one number, or three separated by commas, such as 1/127.5."""
    values: tuple[float, ...] | None = None
    if text is not None:
        try:
            parts = (number.partition("/") for number in text.split(","))
            values = tuple(float(top) / float(bottom or 1) for top, _, bottom in parts)
        except (ValueError, ZeroDivisionError):
            values = ()
        if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
            raise click.BadParameter(f"must be one number, or three with commas between. Received: {text!r}")
    _keep(context, parameter, values)


def _option(*names: str, callback: Callable[..., None] = _keep, **settings: Any) -> Callable[[Decorated], Decorated]:
    return _options.option(*names, callback=callback, expose_value=False, section=SECTION, **settings)


import_option = _option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Module or .py file that defines layers of MODEL; may be repeated. Its code is run.",
)
_PREPROCESSING_OPTIONS = (
    _option(
        "--scale",
        metavar="NUMBER",
        callback=_keep_numbers,
        help="Factor for the pixels (0 to 255) of a MODEL without a preprocessing record, such as 1/255.",
    ),
    _option(
        "--mean",
        metavar="NUMBER",
        callback=_keep_numbers,
        help="Subtracted from the pixels first, in pixel units: one number, or R,G,B.",
    ),
    _option(
        "--deviation",
        metavar="NUMBER",
        callback=_keep_numbers,
        help="Divisor instead of --scale, in pixel units: one number, or R,G,B.",
    ),
    _option(
        "--labels",
        type=click.Path(),
        metavar="FILE",
        help="File of class names, one per line, used instead of the model's.",
    ),
    import_option,
)


def model_options(function: Decorated) -> Decorated:
    """Add the options that describe a MODEL of another program."""
    for option in reversed(_PREPROCESSING_OPTIONS):
        function = option(function)
    return function


def described(
    record: "ModelInfo | None", model: "keras.Model", text: str, side: int | None = None, rename: bool = True
) -> "ModelInfo | None":
    """Return a record with the preprocessing and class names given as options.

    Args:
        record: result of `read_record`, or None.
        model: `keras.Model`.
        text: MODEL.
        side: of the images in pixels, for a model of free height and width.
        rename: whether --labels replaces class names that the record has.

    Raises:
        ArgumentError: if the record already has a preprocessing, or the numbers make no sense.
        SourceError: if the file of class names cannot be read.
    """
    from keras_cnns import saving

    known = record or saving.ModelInfo()
    changes: dict[str, Any] = {}
    numbers = {name: given(name) for name in ("scale", "mean", "deviation") if given(name)}
    if numbers:
        _check_numbers(numbers, known, text)
        changes["preprocessing"] = _preprocessing(model, side, **numbers)
    if (names := given_labels()) and (rename or not known.class_names):
        _check_names(names, model, text)
        changes["class_names"] = names
    return dataclasses.replace(known, **changes) if changes else record


def given_labels() -> tuple[str, ...] | None:
    """Return the class names in the file of --labels, if given."""
    if given("labels") is None:
        return None
    from keras_cnns.export.options import read_labels

    return read_labels(given("labels"))


def _check_names(names: Sequence[str], model: "keras.Model", text: str) -> None:
    """Raise ArgumentError unless each class has its own name."""
    from keras_cnns.errors import ArgumentError
    from keras_cnns.tasks.classifiers import class_count

    outputs = getattr(model, "outputs", None)
    classes = class_count(outputs[0]) if outputs else len(names)
    if len(names) != classes:
        raise ArgumentError(
            f"{text} has {classes} classes, and --labels must name each of them, one per line. "
            f"Received: {len(names)} names, {', '.join(names[:5])}{', ...' if names[5:] else ''}"
        )
    if repeated := [name for k, name in enumerate(names) if name in names[:k]]:
        raise ArgumentError(f"the class names must differ from each other. Received: {repeated[0]!r} more than once")


def _check_numbers(numbers: Mapping[str, Sequence[float]], record: "ModelInfo", text: str) -> None:
    """Raise ArgumentError for numbers that are inconsistent or not in pixel units."""
    from keras_cnns.errors import ArgumentError

    received = ", ".join(f"--{name} {','.join(f'{value:g}' for value in values)}" for name, values in numbers.items())
    if record.preprocessing:
        raise ArgumentError(
            f"{text} carries its own preprocessing record: leave out --{next(iter(numbers))}. Received: {received}"
        )
    if {"scale", "deviation"} <= set(numbers):
        raise ArgumentError(f"--deviation is 1 over --scale: give one of them. Received: {received}")
    if 0 in (*numbers.get("scale", ()), *numbers.get("deviation", ())):
        raise ArgumentError(f"--scale and --deviation must not be 0. Received: {received}")
    if max(map(abs, numbers.get("scale", (0,)))) > 1:
        raise ArgumentError(
            f"--scale multiplies pixels of 0 to 255; for values of 0 to 1 it is 1/255. Received: {received}"
        )
    for name in ("mean", "deviation"):
        if 0 < max(map(abs, numbers.get(name, (0,)))) <= 1:
            raise ArgumentError(
                f"--{name} is in pixel units, 0 to 255: multiply a value computed from pixels / 255 by 255. "
                f"Received: {received}"
            )


def _preprocessing(
    model: "keras.Model",
    side: int | None,
    scale: tuple[float, ...] | None = None,
    mean: tuple[float, ...] | None = None,
    deviation: tuple[float, ...] | None = None,
) -> "Preprocessing":
    """Return a `Preprocessing` for a model from the values of the options."""
    from keras_cnns import _models
    from keras_cnns.data.preprocessing import Preprocessing
    from keras_cnns.errors import ArgumentError

    if side is None:
        plain = _models.plain_preprocessing(model)
    else:
        plain = Preprocessing((side, side), _models.image_input(model)[-1], scale=(1.0,))
    if deviation is not None:
        scale = tuple(1 / value for value in deviation)
    changes = {"scale": scale, "mean": mean}
    try:
        return dataclasses.replace(plain, **{key: value for key, value in changes.items() if value is not None})
    except ValueError as error:  # three values for a gray image
        raise ArgumentError(str(error)) from None
