"""How much of each layer's signal an int8 ONNX file keeps."""

import re

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization.quant_utils import DEQUANT_OUTPUT_SUFFIX

IMAGES = 4  # enough for a ratio of powers, and a bound to the time


def by_layer(plain, quantized, images, layers):
    """Return the signal-to-noise ratio of each layer's quantized output, in order of the graph.

    Both graphs run without optimization, one image at a time, so that the numbers are those of every processor.

    Args:
        plain: `onnx.ModelProto` in float32.
        quantized: the same graph with QuantizeLinear and DequantizeLinear.
        images: what the graphs take, the batch first; the first `IMAGES` are used.
        layers: names of the model's layers.

    Returns:
        {layer name: decibels}; layers whose output is not quantized are left out.
    """
    known = {name for node in quantized.graph.node for name in node.output}
    names = {}
    for node in plain.graph.node:
        layer = _layer_of(node.name, layers)
        if layer and node.output[0] + DEQUANT_OUTPUT_SUFFIX in known:
            names[layer] = node.output[0]  # the last of a layer's nodes gives its output
    if not names:
        return {}
    sessions = (
        _session(plain, list(names.values())),
        _session(quantized, [name + DEQUANT_OUTPUT_SUFFIX for name in names.values()]),
    )
    signal, noise = np.zeros((2, len(names)))
    batch = sessions[0].get_inputs()[0].shape[0]
    count = batch if isinstance(batch, int) else 1
    for start in range(0, max(IMAGES, count), count):
        given = images[np.arange(start, start + count) % len(images)]
        exact, rounded = (session.run(None, {session.get_inputs()[0].name: given}) for session in sessions)
        signal += [np.square(values, dtype="float64").sum() for values in exact]
        noise += [np.square(a - b, dtype="float64").sum() for a, b in zip(exact, rounded, strict=True)]
    ratios = 10 * np.log10(np.maximum(signal, 1e-30) / np.maximum(noise, 1e-30))
    return {name: round(float(ratio), 1) for name, ratio in zip(names, ratios, strict=True)}


def _layer_of(node_name, layers):
    """Return the innermost layer in whose name scope a node stands, None if it stands in none."""
    for scope in reversed(node_name.split("/")):
        # Tracing a network a second time numbers its scopes
        for name in (scope, re.sub(r"_\d+$", "", scope)):
            if name in layers:
                return name
    return None


def _session(model, names):
    """Return a session that gives the tensors of these names."""
    own = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    content = model.SerializeToString()
    del model.graph.output[:]  # put back: a copy of the whole model would take its memory once more
    model.graph.output.extend(own)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
