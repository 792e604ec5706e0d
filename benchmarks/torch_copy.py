"""A copy of a Keras model in PyTorch, with its weights.

It holds for functional models of convolutions, pools, dense layers and batch normalization, with images channels last
in Keras and channels first in PyTorch. PyTorch is not a dependency.
"""

from typing import Any

import keras
import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Copy(nn.Module):
    """A Keras model's layers in PyTorch.

    Args:
        model: functional model with one input and one output.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.steps: list[tuple[Any, list[int], int]] = []  # module or function, its inputs, its output
        self.padding: dict[int, tuple[int, int]] = {}  # zeros that the next layer has to add, by Keras tensor
        self.sources: dict[int, int] = {}  # tensors that are the same in PyTorch
        self.flattened: dict[int, tuple[int, ...]] = {}
        self.input, self.output = id(model.inputs[0]), id(model.outputs[0])
        for operation in model.operations:
            if isinstance(operation, keras.layers.InputLayer):
                continue
            (node,) = operation._inbound_nodes
            inputs = list(node.input_tensors)
            self._add(operation, inputs, node.output_tensors[0])
        self.output = self._source(self.output)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the model's output for normalized images (batch, channels, height, width)."""
        values = {self.input: image}
        for step, inputs, output in self.steps:
            values[output] = step(*(values[name] for name in inputs))
        return values[self.output]

    def _source(self, name: int) -> int:
        return self.sources.get(name, name)

    def _add(self, layer: Any, inputs: list[Any], output: Any) -> None:
        kind = type(layer).__name__
        if kind in ("Dropout", "ZeroPadding2D"):
            self.sources[id(output)] = self._source(id(inputs[0]))
            if kind == "ZeroPadding2D":
                (top, bottom), (left, right) = layer.padding
                assert top == bottom == left == right
                self.padding[id(output)] = (top, top)
            return
        step = self._step(kind, layer, inputs)
        names = [self._source(id(tensor)) for tensor in inputs]
        if isinstance(step, nn.Module):
            self.add_module(layer.name, step)
        self.steps.append((step, names, id(output)))
        activation = getattr(layer, "activation", None)
        if activation is not None and kind != "Activation" and activation.__name__ != "linear":
            self.steps.append((_activation(activation.__name__), [id(output)], id(output)))

    def _step(self, kind: str, layer: Any, inputs: list[Any]) -> Any:
        weights = [torch.tensor(np.asarray(value)) for value in layer.get_weights()]
        if kind == "Conv2D":
            begin, end = self._window(layer, layer.kernel_size, inputs[0])
            assert begin == end and layer.groups == 1
            channels, filters = weights[0].shape[2:]
            copy = nn.Conv2d(channels, filters, layer.kernel_size, layer.strides, begin, bias=layer.use_bias)
            return _filled(copy, [weights[0].permute(3, 2, 0, 1), *weights[1:]])
        if kind == "MaxPooling2D":
            begin, end = self._window(layer, layer.pool_size, inputs[0])
            return nn.MaxPool2d(layer.pool_size, layer.strides, begin, ceil_mode=end != begin)
        if kind == "AveragePooling2D":
            begin, end = self._window(layer, layer.pool_size, inputs[0])
            return nn.AvgPool2d(layer.pool_size, layer.strides, begin, end != begin, count_include_pad=False)
        if kind == "BatchNormalization":
            values = dict(zip((variable.name for variable in layer.variables), weights, strict=True))
            channels = len(values["moving_mean"])
            copy = nn.BatchNorm2d(channels, layer.epsilon)
            copy.running_mean, copy.running_var = values["moving_mean"], values["moving_variance"]
            ones, zeros = torch.ones(channels), torch.zeros(channels)
            return _filled(copy, [values.get("gamma", ones), values.get("beta", zeros)])
        if kind == "Dense":
            kernel = weights[0]
            if shape := self.flattened.get(id(inputs[0])):  # PyTorch flattens channels first
                kernel = kernel.reshape(*shape, -1).permute(2, 0, 1, 3).reshape(kernel.shape)
            copy = nn.Linear(*kernel.shape, bias=layer.use_bias)
            return _filled(copy, [kernel.T, *weights[1:]])
        if kind == "Flatten":
            output = layer.output
            self.flattened[id(output)] = tuple(inputs[0].shape[1:])
            # Dropout layers pass the mark on, as they are the same tensor in PyTorch
            return nn.Flatten()
        if kind == "LocalResponseNormalization":
            alpha = layer.alpha if layer.divide_alpha else layer.alpha * layer.n  # PyTorch divides by the size
            return nn.LocalResponseNorm(layer.n, alpha, layer.beta, layer.k)
        if kind == "GlobalAveragePooling2D":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        if kind == "Concatenate":
            return lambda *values: torch.cat(values, 1)
        if kind == "Add":
            return lambda first, second: first + second
        if kind in ("ReLU", "Activation"):
            return _activation("relu" if kind == "ReLU" else layer.activation.__name__)
        raise NotImplementedError(f"no copy of {kind} is known")

    def _window(self, layer: Any, size: tuple[int, int], tensor: Any) -> tuple[int, int]:
        """Return the padding before and after each side of an image."""
        begin, end = self.padding.get(id(tensor), (0, 0))
        if layer.padding == "same":
            side, stride, width = tensor.shape[1], layer.strides[0], size[0]
            total = max(0, (-(-side // stride) - 1) * stride + width - side)
            begin, end = begin + total // 2, end + total - total // 2
        return begin, end


def _activation(name: str) -> Any:
    return {"relu": functional.relu, "softmax": lambda values: functional.softmax(values, 1)}[name]


def _filled(module: nn.Module, values: list[torch.Tensor]) -> nn.Module:
    """Return a module with new weights."""
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.copy_(value)
    return module


def write_onnx(model: keras.Model, path: str) -> None:
    """Write torch.onnx's file of a Keras model's copy, for any batch size.

    Args:
        model: functional model.
        path: file to write.
    """
    height, width, channels = model.input_shape[1:]
    copy = Copy(model).eval()
    example = torch.zeros(2, channels, height, width)
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(copy, (example,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    assert program is not None
    program.save(path, external_data=False)
