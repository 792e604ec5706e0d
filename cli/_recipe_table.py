"""The table of recipes that `cnn-info --recipe` prints."""

from collections.abc import Mapping
from typing import Any

from keras_cnns.cli import _model, _output

ALWAYS_SHOWN = "builder optimizer learning_rate schedule batch_size epochs preprocessing augmentation protocol".split()


def print_recipes(text: str, as_json: bool) -> None:
    """Print the recipe of a model, or those that suit a network.

    Args:
        text: MODEL or NETWORK.
        as_json: whether to print JSON.
    """
    recipes = _recipes(text)
    if as_json:
        _output.print_json(recipes)
        return
    rows = [(field, *(_as_text(recipe.get(field)) for recipe in recipes)) for field in _fields(recipes)]
    title = f"{text}: {_output.counted(len(recipes), 'recipe')}"
    names = [recipe["name"] for recipe in recipes]
    _output.table(title, [("", "left"), *((name, "left", 0, 16) for name in names)], rows, below=True)


def _recipes(text: str) -> list[dict[str, Any]]:
    """Return recipes as JSON has them."""
    from keras_cnns import recipes
    from keras_cnns.applications._registry import canonical_name
    from keras_cnns.errors import ArgumentError

    if not _model.is_model(text):
        builder = canonical_name(text)
        return [recipe.to_json() for recipe in recipes.RECIPES.values() if recipe.suits(builder)]
    record = _model.read_record(_model.locate(text))
    if not record or not record.recipe:
        raise ArgumentError(f"the model carries no recipe. Received: MODEL={text!r}")
    return [dict(record.recipe)]


def _fields(recipes: list[dict[str, Any]]) -> list[str]:
    """Return the basic fields, and the others that a recipe sets."""
    from keras_cnns.recipes import Recipe

    unset = Recipe("").to_json()
    return [
        field
        for field in unset
        if field != "name"
        and (field in ALWAYS_SHOWN or any(recipe.get(field, unset[field]) != unset[field] for recipe in recipes))
    ]


def _as_text(value: Any) -> str:
    """Return a value of a recipe as text."""
    if isinstance(value, Mapping) and set(value) == {"class_name", "config"}:  # an initializer
        return f"{value['class_name']}({', '.join(f'{key}={setting}' for key, setting in value['config'].items())})"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_as_text(setting)}" for key, setting in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_as_text, value)) or "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None else str(value)
