"""Measure how much of each layer's signal an int8 ONNX file keeps."""

import re
from collections.abc import Collection

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization.quant_utils import DEQUANT_OUTPUT_SUFFIX

IMAGES = 4  # enough for a ratio of powers; more would only take time


def by_layer(
    plain: onnx.ModelProto, quantized: onnx.ModelProto, images: np.ndarray, layers: Collection[str]
) -> dict[str, float]:
    """Return the signal-to-noise ratio of each layer's quantized output.

    Both graphs run without optimization, one batch at a time, so that the numbers are the same on every processor.

    Args:
        plain: the graph in float32.
        quantized: the same graph with QuantizeLinear and DequantizeLinear.
        images: inputs of the graphs, batch axis first; the first `IMAGES` are used.
        layers: names of the model's layers.

    Returns:
        From layer name to decibels, in the order of the graph. Layers whose output is not quantized are left out.
    """
    outputs = _quantized_outputs(plain, quantized, layers)
    if not outputs:
        return {}
    plain_session = _session(plain, list(outputs.values()))
    quantized_session = _session(quantized, [name + DEQUANT_OUTPUT_SUFFIX for name in outputs.values()])
    signal, noise = np.zeros((2, len(outputs)))
    fixed_batch = plain_session.get_inputs()[0].shape[0]
    batch_size = fixed_batch if isinstance(fixed_batch, int) else 1
    for start in range(0, max(IMAGES, batch_size), batch_size):
        batch = images[np.arange(start, start + batch_size) % len(images)]
        exact, rounded = (
            session.run(None, {session.get_inputs()[0].name: batch}) for session in (plain_session, quantized_session)
        )
        signal += [np.square(values, dtype="float64").sum() for values in exact]
        noise += [np.square(a - b, dtype="float64").sum() for a, b in zip(exact, rounded, strict=True)]
    ratios = 10 * np.log10(np.maximum(signal, 1e-30) / np.maximum(noise, 1e-30))
    return {name: round(float(ratio), 1) for name, ratio in zip(outputs, ratios, strict=True)}


def _quantized_outputs(plain, quantized, layers):
    """Return each layer's quantized output, by name in the plain graph."""
    names = {name for node in quantized.graph.node for name in node.output}
    outputs = {}
    for node in plain.graph.node:
        layer = _layer_of(node.name, layers)
        if layer and node.output[0] + DEQUANT_OUTPUT_SUFFIX in names:
            outputs[layer] = node.output[0]  # the layer's last node, which overwrites earlier ones, gives its output
    return outputs


def _layer_of(node_name, layers):
    """Return the innermost layer whose name scope contains a node, or None."""
    for scope in reversed(node_name.split("/")):
        # When a network is traced a second time, its scopes get numbers
        for name in (scope, re.sub(r"_\d+$", "", scope)):
            if name in layers:
                return name
    return None


def _session(model, names):
    """Return a session that gives the tensors of these names."""
    outputs = list(model.graph.output)
    # The model's outputs are replaced for a moment, because a copy of the model would take its memory once more
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    content = model.SerializeToString()
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
