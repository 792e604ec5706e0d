"""Convert a function to ONNX with tf2onnx, without copies of large weights.

tf2onnx turns weights into constants of the graph and copies them many times: a ResNet-50 takes 8 GB, a VGG-16 more than
20. Here large weights are inputs of the converted function and become initializers afterwards. What the converter put
between a weight and its use (transposes, the factors of batch normalization) is computed in NumPy.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import numpy_helper, version_converter

from keras_cnns import _keras, typing
from keras_cnns._quiet import quiet
from keras_cnns.export.formats import OPSET

PLAIN = (b"NOTSET", b"VALID")  # values of `auto_pad` that add no padding
LARGE = 16_384  # values; smaller weights cost little, and the converter can fold them


def convert(
    compute: Callable,
    variables: Sequence[np.ndarray],
    constant: Collection[int],
    input_spec: tf.TensorSpec,
    opset: int,
    say: typing.Log = lambda step: None,
) -> onnx.ModelProto:
    """Return the ONNX model of a function.

    Args:
        compute: function from a tensor like `input_spec` and a list of tensors or arrays, one per variable, to a
            dictionary of tensors.
        variables: arrays.
        constant: places of the variables that the converter must see as constants, however large.
        input_spec: shape, type and name of the input.
        opset: version of ONNX's operators.
        say: function called with the name of each step, before it begins.

    Returns:
        The model, whose only input is that of `input_spec`.
    """
    names = {k: f"weight_{k}" for k, value in enumerate(variables) if value.size >= LARGE and k not in constant}
    specs = [tf.TensorSpec(variables[k].shape, variables[k].dtype, name) for k, name in names.items()]

    @tf.function(input_signature=[input_spec, *specs])
    def function(image, *weights):
        large = dict(zip(names, weights, strict=True))
        return compute(image, [large.get(k, value) for k, value in enumerate(variables)])

    say("tracing the network")
    with quiet():
        captured = _captured_arrays(function.get_concrete_function())
    say("converting it")
    written_opset = min(opset, OPSET)  # tf2onnx writes up to 18, and there puts transposes around global pooling
    with quiet():
        proto = _run_tf2onnx(function, written_opset)
        if written_opset != opset:  # converted now, while large weights are still inputs, so that nothing is copied
            proto = version_converter.convert_version(proto, opset)
            proto.ir_version = onnx.helper.find_min_ir_version_for(proto.opset_import)
    say("folding constants")
    arrays = {**{name: variables[k] for k, name in names.items()}, **captured}
    kept_inputs = [value for value in proto.graph.input if value.name not in arrays]
    del proto.graph.input[:]
    proto.graph.input.extend(kept_inputs)
    _Constants(proto.graph, arrays).fold_and_write()
    return proto


def _run_tf2onnx(function, opset):
    """Return tf2onnx's model of a `tf.function`."""

    def run():
        proto, _ = tf2onnx.convert.from_function(
            function,
            input_signature=function.input_signature,
            opset=opset,
            custom_op_handlers={"Erfc": (_write_erfc, [])},
        )
        return proto

    try:
        with _keras.failing_optimizers():
            return run()
    except Exception:  # slower, and without the optimizer that failed
        return run()


def _write_erfc(graph, node, name, _):
    """Write TensorFlow's Erfc as 1 - Erf.

    GELU consists of it, and neither tf2onnx nor ONNX has it. For large inputs the difference is rounded to
    zero. GELU multiplies it by the input, and loses less than 1e-6.
    """
    one = graph.make_const(f"{name}_one", np.float32(1))
    erf = graph.make_node("Erf", node.input, shapes=node.output_shapes, dtypes=node.output_dtypes)
    outputs, shapes, dtypes = node.output, node.output_shapes, node.output_dtypes
    graph.remove_node(name)
    graph.make_node("Sub", [one.output[0], erf.output[0]], outputs=outputs, name=name, shapes=shapes, dtypes=dtypes)


def _captured_arrays(concrete):
    """Return a traced function's captured arrays, by name of graph input.

    Layers such as `keras.layers.Normalization` keep statistics as tensors that are not variables.
    """
    values = concrete.captured_inputs
    placeholders = concrete.inputs[len(concrete.inputs) - len(values) :]
    arrays = {
        placeholder.name: value.numpy()
        for placeholder, value in zip(placeholders, values, strict=True)
        if placeholder.dtype != tf.resource
    }
    return {**arrays, **{name.removesuffix(":0"): array for name, array in arrays.items()}}


class _Constants:
    """The constant tensors of a graph, and their folding."""

    def __init__(self, graph, arrays):
        self.graph = graph
        self.arrays = {**{tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}, **arrays}

    def fold_and_write(self):
        """Fold nodes into constants, and write those into the graph."""
        self._fold_moves()
        self._fold_scales()
        self._fold_pads()
        self._join_equal()
        used = {name for node in self.graph.node for name in _names_read(node)}
        del self.graph.initializer[:]
        for name, array in self.arrays.items():
            if name in used:
                self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))

    def _fold_moves(self):
        """Compute transposes, reshapes and similar nodes of constants."""
        for node in list(self.graph.node):
            if node.input and all(name in self.arrays for name in node.input):
                results = _moved(node, [self.arrays[name] for name in node.input])
                if results is not None:
                    self.arrays |= zip(node.output, results, strict=True)
                    self.graph.node.remove(node)

    def _fold_scales(self):
        """Fold factors and summands per channel into the convolution before.

        Batch normalization has become such factors and summands.
        """
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
        """Return the only user of a convolution's result and its constant.

        Returns (node, values per channel) if the user is an operator of this kind, else (None, None).
        """
        result, channels = convolution.output[0], len(self.arrays[convolution.input[1]])
        users = [node for node in self.graph.node if result in _names_read(node)]
        if len(users) != 1 or users[0].op_type != kind or result in {value.name for value in self.graph.output}:
            return None, None
        operands = [self.arrays.get(name) for name in users[0].input if name != result]
        # A value per channel has the shape (channels, 1, 1), with or without a batch axis
        if len(operands) != 1 or operands[0] is None:
            return None, None
        if operands[0].shape not in ((channels, 1, 1), (1, channels, 1, 1)):
            return None, None
        return users[0], operands[0].reshape(-1)

    def _fold_pads(self):
        """Let max pools pad by themselves where zeros change nothing.

        After a ReLU no value is below the zeros, so that they are never alone the largest: a window is wider than its
        padding. Runtimes then keep the layout that their convolutions use.
        """
        producers = {name: node for node in self.graph.node for name in node.output}
        outputs = {value.name for value in self.graph.output}
        for pad in [node for node in self.graph.node if node.op_type == "Pad"]:
            before = producers.get(pad.input[0])
            users = [node for node in self.graph.node if pad.output[0] in _names_read(node)]
            if before is None or before.op_type != "Relu" or len(users) != 1 or pad.output[0] in outputs:
                continue
            (pool,) = users
            pads = self._zeros_around_images(pad)
            settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in pool.attribute}
            if pads is None or pool.op_type != "MaxPool" or settings.get("auto_pad", b"NOTSET") not in PLAIN:
                continue
            if any(settings.get("pads", ())) or max(pads) >= min(settings["kernel_shape"]):
                continue
            if settings.get("ceil_mode") or max(settings.get("dilations", [1])) > 1:  # windows may lie in the padding
                continue
            kept = [attribute for attribute in pool.attribute if attribute.name not in ("auto_pad", "pads")]
            del pool.attribute[:]
            pool.attribute.extend([*kept, onnx.helper.make_attribute("pads", pads)])
            pool.input[0] = pad.input[0]
            self.graph.node.remove(pad)

    def _join_equal(self):
        """Let nodes that read equal weights read one of them.

        A network that sees an image in several sizes uses each weight several times, and each use was folded by itself.
        Biases stay apart, since quantization gives each its own scale.
        """
        names, firsts = {}, {}
        for name, array in self.arrays.items():
            if array.ndim > 1:
                digest = hashlib.sha256(np.ascontiguousarray(array).data).digest()
                names[name] = firsts.setdefault((array.shape, array.dtype.str, digest), name)
        for node in self.graph.node:
            for place, name in enumerate(node.input):
                node.input[place] = names.get(name, name)

    def _zeros_around_images(self, pad):
        """Return the sizes of a Pad node that adds zeros, or None.

        They are [top, left, bottom, right].
        """
        settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in pad.attribute}
        sizes, value, axes = [*pad.input[1:], "", ""][:3]  # the last two are optional
        known = sizes in self.arrays and (not value or value in self.arrays)
        if not known or axes or settings.get("mode", b"constant") != b"constant":
            return None
        if value and self.arrays[value].any():
            return None
        sides = self.arrays[sizes].reshape(2, -1)
        if sides.shape[1] != 4 or sides[:, :2].any() or (sides < 0).any():
            return None
        return [int(side) for side in sides[:, 2:].reshape(-1)]

    def _replace(self, node, place, array):
        """Give a node a new constant, which no other node uses."""
        name = f"{node.output[0]}_{'weight' if place == 1 else 'bias'}"
        self.arrays[name] = array.astype("float32")
        if place < len(node.input):
            node.input[place] = name
        else:
            node.input.append(name)


def _names_read(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the tensors that a node, its branches and loops read."""
    yield from node.input
    for attribute in node.attribute:
        for inner_node in attribute.g.node:
            yield from _names_read(inner_node)


def _moved(node, arrays):
    """Return a node's results if it only moves values, or None."""
    settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "Identity":
        return [arrays[0]]
    if node.op_type == "Transpose":
        return [arrays[0].transpose(settings["perm"])]
    if node.op_type == "Reshape" and 0 not in arrays[1]:  # a zero would keep the size of that axis
        return [arrays[0].reshape(arrays[1])]
    if node.op_type == "Split":  # into parts of the given sizes, or into equal parts
        places = np.cumsum(arrays[1])[:-1] if len(arrays) > 1 else len(node.output)
        return np.split(arrays[0], places, settings.get("axis", 0))
    return None
