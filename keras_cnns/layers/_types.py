"""Types in the signatures of layers."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any  # a Keras tensor, or an array of the backend or NumPy
TensorShape: TypeAlias = tuple[Any, ...]  # the batch first; whole numbers, None where a size is unknown
Cost: TypeAlias = dict[str, int]  # "macs": multiply-adds; "connections": links from inputs and biases to units
