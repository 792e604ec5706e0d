"""ONNX by tf2onnx, with the large weights kept out of its hands.

tf2onnx turns weights into constants of the graph and copies them many times: a ResNet-50 takes 8 GB, a VGG-16 more than
20. Here large weights enter the graph as inputs, and become initializers of the converted graph, with what the
converter put between a weight and its use (transposes, the factors of batch normalization) worked out in NumPy.
"""

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import numpy_helper, version_converter

from keras_cnns.export.formats import OPSET

LARGE = 16_384  # values; smaller weights cost nothing, and the converter can fold them


def convert(compute, variables, constant, input_spec, opset):
    """Return the ONNX model of a function.

    Args:
        compute: function from a tensor like `input_spec` and a list of tensors or arrays, one a variable, to a
            dictionary of tensors.
        variables: arrays.
        constant: places of those that the converter must see as constants, however large.
        input_spec: `tf.TensorSpec`.
        opset: version of ONNX's operators.

    Returns:
        `onnx.ModelProto`, whose only input is that of `input_spec`.
    """
    large = {f"weight_{k}": value for k, value in enumerate(variables) if value.size >= LARGE and k not in constant}
    specs = [tf.TensorSpec(value.shape, value.dtype, name) for name, value in large.items()]

    @tf.function(input_signature=[input_spec, *specs])
    def function(image, *weights):
        named = dict(zip(large, weights, strict=True))
        return compute(image, [named.get(f"weight_{k}", value) for k, value in enumerate(variables)])

    captured = _captured(function.get_concrete_function())
    written = min(opset, OPSET)  # tf2onnx's own limit is 18, at which it puts transposes around global pooling
    proto, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=written)
    if written != opset:
        proto = version_converter.convert_version(proto, opset)  # large weights are still inputs: nothing is copied
        proto.ir_version = onnx.helper.find_min_ir_version_for(proto.opset_import)
    graph = proto.graph
    arrays = {**large, **captured}
    kept = [value for value in graph.input if value.name not in arrays]
    del graph.input[:]
    graph.input.extend(kept)
    _Constants(graph, arrays).settle()
    return proto


def _captured(concrete):
    """Return the arrays that a traced function holds, by the names that tf2onnx gives them as inputs of the graph.

    Layers with statistics of their own, as `keras.layers.Normalization`, keep them as tensors, which are no variables.
    """
    outside = concrete.captured_inputs
    inside = concrete.inputs[len(concrete.inputs) - len(outside) :]
    found = {a.name: b.numpy() for a, b in zip(inside, outside, strict=True) if a.dtype != tf.resource}
    return {**found, **{name.removesuffix(":0"): array for name, array in found.items()}}


class _Constants:
    """The constant tensors of a graph, by name, and the folding of what works on them alone."""

    def __init__(self, graph, arrays):
        self.graph = graph
        self.arrays = {**{one.name: numpy_helper.to_array(one) for one in graph.initializer}, **arrays}

    def settle(self):
        """Fold what can be folded, and write the constants that are still used into the graph."""
        self._fold_moves()
        self._fold_scales()
        used = {name for node in self.graph.node for name in _names_read(node)}
        del self.graph.initializer[:]
        for name, array in self.arrays.items():
            if name in used:
                self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))

    def _fold_moves(self):
        """Work out transposes, reshapes and the like of constants."""
        for node in list(self.graph.node):
            if node.input and all(name in self.arrays for name in node.input):
                moved = _moved(node, [self.arrays[name] for name in node.input])
                if moved is not None:
                    self.arrays |= zip(node.output, moved, strict=True)
                    self.graph.node.remove(node)

    def _fold_scales(self):
        """Multiply factors and add summands of each channel, as batch normalization has them, into convolutions."""
        for convolution in [node for node in self.graph.node if node.op_type == "Conv"]:
            if not all(name in self.arrays for name in convolution.input[1:]):
                continue
            for kind in ("Mul", "Add"):
                node, values = self._only_user(convolution, kind)
                if node is None:
                    continue
                weight, *bias = convolution.input[1:]
                if kind == "Mul":
                    self._replace(convolution, 1, self.arrays[weight] * values.reshape(-1, 1, 1, 1))
                    if bias:
                        self._replace(convolution, 2, self.arrays[bias[0]] * values)
                else:
                    self._replace(convolution, 2, self.arrays[bias[0]] + values if bias else values)
                convolution.output[0] = node.output[0]
                self.graph.node.remove(node)

    def _only_user(self, convolution, kind):
        """Return (node, values by channel) if all that happens to the output is `kind` with a constant."""
        result, channels = convolution.output[0], len(self.arrays[convolution.input[1]])
        users = [node for node in self.graph.node if result in _names_read(node)]
        if len(users) != 1 or users[0].op_type != kind or result in {value.name for value in self.graph.output}:
            return None, None
        others = [self.arrays.get(name) for name in users[0].input if name != result]
        # (channels, 1, 1), with or without a batch axis
        if len(others) != 1 or others[0] is None or others[0].shape not in ((channels, 1, 1), (1, channels, 1, 1)):
            return None, None
        return users[0], others[0].reshape(-1)

    def _replace(self, node, place, array):
        """Give a node a constant of its own."""
        name = f"{node.output[0]}_{'weight' if place == 1 else 'bias'}"
        self.arrays[name] = array.astype("float32")
        if place < len(node.input):
            node.input[place] = name
        else:
            node.input.append(name)


def _names_read(node):
    """Yield the names of the tensors that a node reads, those in branches and loops of it too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _names_read(inner)


def _moved(node, arrays):
    """Return what a node that only moves values makes of constants, one an output; None if it is another kind."""
    settings = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type == "Identity":
        return [arrays[0]]
    if node.op_type == "Transpose":
        return [arrays[0].transpose(settings["perm"])]
    if node.op_type == "Reshape" and 0 not in arrays[1]:  # a zero keeps the size of that axis
        return [arrays[0].reshape(arrays[1])]
    if node.op_type == "Split":  # at the places given, else into equal parts
        places = np.cumsum(arrays[1])[:-1] if len(arrays) > 1 else len(node.output)
        return np.split(arrays[0], places, settings.get("axis", 0))
    return None
