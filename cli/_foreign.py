"""What the command line tells of a MODEL that another program wrote: preprocessing, class names, layers."""

import dataclasses
import math

import click


def _keep(context, parameter, value):
    """Keep an option's value with the command's context, where `given` finds it."""
    context.meta[f"keras_cnns.{parameter.name}"] = value


def given(name):
    """Return the value of one of the `model_options`; None or () if it was not given."""
    context = click.get_current_context(silent=True)
    return context and context.meta.get(f"keras_cnns.{name}")


def _keep_numbers(context, parameter, text):
    """Keep one number or three, commas between; fractions as 1/127.5 are numbers too."""
    if text is not None:
        try:
            parts = (number.partition("/") for number in text.split(","))
            values = tuple(float(top) / float(bottom or 1) for top, _, bottom in parts)
        except (ValueError, ZeroDivisionError):
            values = ()
        if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
            raise click.BadParameter(f"must be one number, or three with commas between. Received: {text!r}")
        text = values
    _keep(context, parameter, text)


import_option = click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    expose_value=False,
    callback=_keep,
    help="Module, or path of a .py file, that defines layers of MODEL; may be given again. Its code is run.",
)
_PREPROCESSING_OPTIONS = (
    click.option(
        "--scale",
        metavar="NUMBER",
        expose_value=False,
        callback=_keep_numbers,
        help="For a MODEL without a preprocessing record: pixels, 0 to 255, are multiplied by it, as by 1/255.",
    ),
    click.option(
        "--mean",
        metavar="NUMBER",
        expose_value=False,
        callback=_keep_numbers,
        help="Likewise: subtracted before, in pixel units; one number, or R,G,B.",
    ),
    click.option(
        "--deviation",
        metavar="NUMBER",
        expose_value=False,
        callback=_keep_numbers,
        help="In place of --scale: divided by, in pixel units; one number, or R,G,B.",
    ),
    click.option(
        "--labels",
        type=click.Path(),
        metavar="FILE",
        expose_value=False,
        callback=_keep,
        help="Class names, one a line, instead of the model's.",
    ),
    import_option,
)


def model_options(function):
    """Add what tells a command about the MODEL of another program: its preprocessing, class names and layers."""
    for option in reversed(_PREPROCESSING_OPTIONS):
        function = option(function)
    return function


def described(record, model, text, side=None, rename=True):
    """Return a record with the preprocessing and class names that the options tell.

    Args:
        record: of `read_record`, or None.
        model: `keras.Model`.
        text: MODEL.
        side: of the images in pixels, where the model's height and width are free.
        rename: whether --labels takes the place of class names that the record has.

    Raises:
        ArgumentError: if the record has a preprocessing already, or the numbers cannot be meant.
        SourceError: if the file of class names cannot be read.
    """
    from keras_cnns import saving

    known, changes = record or saving.ModelInfo(), {}
    numbers = {name: given(name) for name in ("scale", "mean", "deviation") if given(name)}
    if numbers:
        _check_numbers(numbers, known, text)
        changes["preprocessing"] = _preprocessing(model, side, **numbers)
    if (names := given_labels()) and (rename or not known.class_names):
        _check_names(names, model, text)
        changes["class_names"] = names
    return dataclasses.replace(known, **changes) if changes else record


def given_labels():
    """Return the class names of the file that --labels names, None without it."""
    if given("labels") is None:
        return None
    from keras_cnns.export.options import read_labels

    return read_labels(given("labels"))


def _check_names(names, model, text):
    from keras_cnns._models import class_count
    from keras_cnns.errors import ArgumentError

    outputs = getattr(model, "outputs", None)
    classes = class_count(outputs[0]) if outputs else len(names)
    if len(names) != classes:
        raise ArgumentError(
            f"{text} tells {classes} classes apart, and --labels must name each on a line of its own. "
            f"Received: {len(names)} names, {', '.join(names[:5])}{', ...' if names[5:] else ''}"
        )
    if twice := [name for k, name in enumerate(names) if name in names[:k]]:
        raise ArgumentError(f"the class names must differ from each other. Received: {twice[0]!r} more than once")


def _check_numbers(numbers, record, text):
    """Raise ArgumentError for numbers that contradict each other or the record, or that are not in pixel units."""
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
                f"--{name} is in pixel units, 0 to 255: multiply what was found on pixels / 255 by 255. "
                f"Received: {received}"
            )


def _preprocessing(model, side, scale=None, mean=None, deviation=None):
    """Return the `Preprocessing` that the options tell for a model."""
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
