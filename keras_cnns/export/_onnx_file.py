"""ONNX files: what becomes of the converted graph until it lies on disk."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import onnx

import keras_cnns
from keras_cnns import _keras
from keras_cnns._quiet import quiet
from keras_cnns.export import _noise, _onnx, _runner, inspection
from keras_cnns.export.formats import INPUT, OPSET, OPSET_INT8
from keras_cnns.export.writers import Servable
from keras_cnns.layers import LocalResponseNormalization, RBFOutput


def write(job, path):
    """Write an ONNX file."""
    prepared, options = job.prepared, job.prepared.options
    with quiet():
        servable = Servable(prepared, options.input_type, options.layout or "nhwc")
        weights = [tensor.numpy() for tensor in servable.tensors]
        spec = servable.serve.input_signature[0]
        # tf2onnx knows a recurrent layer by its weights
        opset = options.opset or (OPSET_INT8 if options.quantize == "int8" else OPSET)
        proto = _onnx.convert(servable.compute, weights, servable.recurrent, spec, opset)
        exact, noise = _exact_nodes(proto, prepared.model), None
        if options.quantize == "float16":
            proto = _float16(proto, exact)
        if options.quantize == "int8":
            proto, noise = _int8(proto, exact, job)
        _describe(proto, job, noise)
        onnx.checker.check_model(proto)
    onnx.save(proto, str(path))


def _describe(proto, job, noise):
    """Name the batch dimension, and write card, labels, maker and the layers' signal-to-noise into the file."""
    options = job.prepared.options
    for value in (*proto.graph.input, *proto.graph.output):
        first = value.type.tensor_type.shape.dim[0]
        first.Clear()
        if options.static_batch:
            first.dim_value = options.static_batch
        else:
            first.dim_param = "batch"
    proto.producer_name, proto.producer_version = "keras_cnns", keras_cnns.__version__
    texts = {_runner.CARD: json.dumps(job.card, ensure_ascii=False), _runner.LABELS: job.labels_text}
    if noise:
        texts[inspection.NOISE] = json.dumps(noise)
    for key, text in texts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text


def _exact_nodes(proto, model):
    """Return the names of nodes that stay in float32: normalization of pixels, sums of squares, distances."""
    layers = [one.name for one in _keras.all_layers(model) if isinstance(one, LocalResponseNormalization | RBFOutput)]
    scopes = re.compile(rf"(^|/)({'|'.join(map(re.escape, ['normalization', *layers]))})(_\d+)?/")
    return [node.name for node in proto.graph.node if scopes.search(node.name)]


def _float16(proto, exact):
    """Return the model with weights and arithmetic in float16; its inputs and outputs keep their types."""
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    blocked = [*float16.DEFAULT_OP_BLOCK_LIST, "Softmax"]
    half = OnnxModel(
        float16.convert_float_to_float16(proto, keep_io_types=True, op_block_list=blocked, node_block_list=exact)
    )
    _join_exact(half.model.graph, exact)
    half.topological_sort()  # the converter puts its casts at the end
    return half.model


def _join_exact(graph, exact):
    """Take out the casts to float16 and back between nodes that stay in float32: squares may be too large for it."""
    producers = {name: node for node in graph.node for name in node.output}

    def target(node):
        return node.attribute[0].i if node is not None and node.op_type == "Cast" else None

    for node in graph.node:
        for k, name in enumerate(node.input):
            widened = producers.get(name)
            narrowed = producers.get(widened.input[0]) if target(widened) == onnx.TensorProto.FLOAT else None
            if target(narrowed) == onnx.TensorProto.FLOAT16:
                source = producers.get(narrowed.input[0])
                if source is not None and source.name in exact:
                    node.input[k] = narrowed.input[0]
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    while idle := [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in used]:
        for node in idle:
            graph.node.remove(node)
        used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}


def _int8(proto, exact, job):
    """Return the model with int8 weights by channel and uint8 activations, and the layers' signal-to-noise.

    QuantizeLinear and DequantizeLinear stand around what is quantized. The softmax stays in float32: of steps of 1/255
    the small probabilities would all be zero. So do the results of dense layers, which ONNX Runtime's int8 kernel gives
    as float32 too: OpenCV 5 refuses a Gemm whose bias and result are both quantized.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = job.prepared
    images = job.calibration.given(prepared, prepared.options.input_type)
    if prepared.options.layout == "nchw":
        images = images.transpose(0, 3, 1, 2)
    batch = prepared.options.static_batch or 1

    class Reader(quantization.CalibrationDataReader):
        """Gives the images, batch by batch."""

        def __init__(self):
            # The last batch is filled up from the start
            places = np.arange(-(-len(images) // batch) * batch).reshape(-1, batch) % len(images)
            self.batches = (images[one] for one in places)

        def get_next(self):
            one = next(self.batches, None)
            return None if one is None else {INPUT: one}

    with tempfile.TemporaryDirectory(prefix="keras_cnns-") as folder:
        plain, ready, done = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready", "done"))
        onnx.save(proto, plain)
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        prepared_graph = onnx.load(ready)
        softmax = [node.name for node in prepared_graph.graph.node if node.op_type == "Softmax"]
        quantization.quantize_static(
            str(ready),
            str(done),
            Reader(),
            # Unsigned: with signed ones OpenVINO's max pooling gives zeros on AVX2; ONNX Runtime's results are the same
            activation_type=quantization.QuantType.QUInt8,
            per_channel=True,
            reduce_range=prepared.options.weight_bits == 7,
            nodes_to_exclude=exact + softmax + _read_dense(prepared_graph.graph),
            quant_format=quantization.QuantFormat.QDQ,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
        quantized = onnx.load(done)
    layers = {layer.name for layer in _keras.all_layers(prepared.model)}
    return quantized, _noise.by_layer(prepared_graph, quantized, images, layers)


def _read_dense(graph):
    """Return the names of the nodes, other than dense layers, that read a dense layer's result."""
    results = {node.output[0] for node in graph.node if node.op_type == "Gemm"}
    return [node.name for node in graph.node if node.op_type != "Gemm" and results & set(node.input)]
