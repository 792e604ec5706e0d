"""The identity of a training run, which decides whether it is resumed."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

LENGTH = "recipe.epochs"  # the one field in which a run may differ from the complete run that it extends


@dataclasses.dataclass(frozen=True)
class RunIdentity:
    """Everything that decides what a training run computes.

    Two runs with the same values are the same run, so that one can resume the other.

    Attributes:
        network: name of the function that builds the network.
        arguments: the `repr` of each of its arguments, by name.
        recipe: the recipe as JSON.
        classes: class names in the order of the outputs.
        images: fingerprint of the training images, as hexadecimal digits.
        seed: seed of the weights, the order of the images, the augmentation and the validation split.
        precision: name of the dtype policy.
        weights: name of the weights that the run starts from; None for random ones.
        restore_best: whether the complete run takes the weights of its best epoch.
    """

    network: str
    arguments: Mapping[str, str]
    recipe: Mapping[str, Any]
    classes: tuple[str, ...]
    images: str
    seed: int
    precision: str
    weights: str | None = None
    restore_best: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the values as they come back from a JSON file.

        Checkpoints and run.json of earlier versions hold the same keys in the same order, and say nothing of weights
        and `restore_best` where they have their default.
        """
        values: dict[str, Any] = {
            "network": self.network,
            "arguments": dict(self.arguments),
            "recipe": self.recipe,
            "classes": self.classes,
            "pictures": self.images,
            "seed": self.seed,
            "precision": self.precision,
        }
        if self.weights is not None:
            values["weights"] = self.weights
        if self.restore_best:
            values["restore_best"] = True
        return json.loads(json.dumps(values, default=repr))


def differences(theirs: Any, ours: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """List the leaves in which two JSON values differ.

    Args:
        theirs: the one value.
        ours: the other value.
        name: put before the names of leaves, with a dot.

    Returns:
        List of (name, value in `theirs`, value in `ours`); a name is the path of keys, as "recipe.epochs".
    """
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = [*theirs, *(key for key in ours if key not in theirs)]
        parts = ((f"{name}.{key}" if name else str(key), theirs.get(key), ours.get(key)) for key in keys)
        return [leaf for part, their_value, our_value in parts for leaf in differences(their_value, our_value, part)]
    return [] if theirs == ours else [(name, theirs, ours)]
