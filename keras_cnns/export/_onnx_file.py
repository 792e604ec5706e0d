"""Write ONNX files: convert, quantize, describe and save."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import onnx

import keras_cnns
from keras_cnns import _keras
from keras_cnns._quiet import quiet
from keras_cnns.export import _onnx, _runner, _signal_to_noise, inspection
from keras_cnns.export._prepared import Job
from keras_cnns.export._servable import Servable
from keras_cnns.export.formats import INPUT, OPSET, OPSET_INT8
from keras_cnns.layers import LocalResponseNormalization, RBFOutput


def write(job: Job, path: Path) -> None:
    """Write an ONNX file.

    Its free batch dimension is called `batch`, and its metadata hold the card and the labels.

    Args:
        job: what to write.
        path: the file.
    """
    prepared, options = job.prepared, job.prepared.options
    servable = Servable(prepared, options.input_type, options.layout or "nhwc")
    weights = [tensor.numpy() for tensor in servable.tensors]
    spec = servable.serve.input_signature[0]
    opset = options.opset or (OPSET_INT8 if options.quantize == "int8" else OPSET)
    # tf2onnx recognizes a recurrent layer by its weights, which must be constants for it
    proto = _onnx.convert(servable.compute, weights, servable.recurrent, spec, opset, job.say)
    if job.calibration:
        job.say("fitting the ranges of activations")
    with quiet():
        exact_nodes, noise = _exact_nodes(proto, prepared.model), None
        if options.quantize == "float16":
            proto = _to_float16(proto, exact_nodes)
        if options.quantize == "int8":
            proto, noise = _to_int8(proto, exact_nodes, job)
        _describe(proto, job, noise)
        onnx.checker.check_model(proto)
    onnx.save(proto, str(path))


def _describe(proto, job, noise):
    """Name the batch dimension, and write the metadata.

    They are card, labels, producer and the layers' signal-to-noise ratios.
    """
    options = job.prepared.options
    for value in (*proto.graph.input, *proto.graph.output):
        batch = value.type.tensor_type.shape.dim[0]
        batch.Clear()
        if options.static_batch:
            batch.dim_value = options.static_batch
        else:
            batch.dim_param = "batch"
    proto.producer_name, proto.producer_version = "keras_cnns", keras_cnns.__version__
    texts = {_runner.CARD: json.dumps(job.card, ensure_ascii=False), _runner.LABELS: job.labels_text}
    if noise:
        texts[inspection.NOISE] = json.dumps(noise)
    for key, text in texts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text


def _exact_nodes(proto, model):
    """Return the names of nodes that stay in float32.

    They normalize pixels, or compute sums of squares or distances.
    """
    kinds = LocalResponseNormalization | RBFOutput
    layers = [layer.name for layer in _keras.all_layers(model) if isinstance(layer, kinds)]
    scopes = re.compile(rf"(^|/)({'|'.join(map(re.escape, ['normalization', *layers]))})(_\d+)?/")
    return [node.name for node in proto.graph.node if scopes.search(node.name)]


def _to_float16(proto, exact_nodes):
    """Return the model with weights and arithmetic in float16.

    Its inputs and outputs keep their types.
    """
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    blocked_kinds = [*float16.DEFAULT_OP_BLOCK_LIST, "Softmax"]
    half = OnnxModel(
        float16.convert_float_to_float16(
            proto, keep_io_types=True, op_block_list=blocked_kinds, node_block_list=exact_nodes
        )
    )
    _join_exact_nodes(half.model.graph, exact_nodes)
    half.topological_sort()  # the converter puts its casts at the end
    return half.model


def _join_exact_nodes(graph, exact_nodes):
    """Remove casts to float16 and back between nodes in float32.

    Squares may be too large for float16.
    """
    producers = {name: node for node in graph.node for name in node.output}

    def cast_type(node):
        return node.attribute[0].i if node is not None and node.op_type == "Cast" else None

    for node in graph.node:
        for k, name in enumerate(node.input):
            widening = producers.get(name)
            narrowing = producers.get(widening.input[0]) if cast_type(widening) == onnx.TensorProto.FLOAT else None
            if cast_type(narrowing) == onnx.TensorProto.FLOAT16:
                source = producers.get(narrowing.input[0])
                if source is not None and source.name in exact_nodes:
                    node.input[k] = narrowing.input[0]
    _remove_unused_casts(graph)


def _remove_unused_casts(graph):
    """Remove casts that nothing reads, and those that only such casts read."""
    while True:
        used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        unused = [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in used]
        if not unused:
            return
        for node in unused:
            graph.node.remove(node)


def _to_int8(proto, exact_nodes, job):
    """Return the model in int8, and its layers' signal-to-noise ratios.

    It has int8 weights, with a scale per channel, and uint8 activations.

    QuantizeLinear and DequantizeLinear surround the operators. The softmax stays in float32, because with steps of
    1/255 its small probabilities would all be zero. Results of dense layers stay in float32 too: ONNX Runtime's int8
    kernel gives them so, and OpenCV 5 refuses a Gemm whose bias and result are both quantized.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, options = job.prepared, job.prepared.options
    images = job.calibration_images(options.input_type)
    if options.layout == "nchw":
        images = images.transpose(0, 3, 1, 2)
    with tempfile.TemporaryDirectory(prefix="keras_cnns-") as folder:
        plain_file, inferred_file, int8_file = (Path(folder) / f"{name}.onnx" for name in ("plain", "inferred", "int8"))
        onnx.save(proto, plain_file)
        quant_pre_process(str(plain_file), str(inferred_file), skip_symbolic_shape=True)
        inferred = onnx.load(inferred_file)
        softmax_nodes = [node.name for node in inferred.graph.node if node.op_type == "Softmax"]
        quantization.quantize_static(
            str(inferred_file),
            str(int8_file),
            _calibration_reader(images, options.static_batch or 1),
            # Unsigned, because with signed ones OpenVINO's max pooling gives zeros on AVX2; ONNX Runtime gives the
            # same results with both
            activation_type=quantization.QuantType.QUInt8,
            per_channel=True,
            reduce_range=options.weight_bits == 7,
            nodes_to_exclude=exact_nodes + softmax_nodes + _users_of_dense_layers(inferred.graph),
            quant_format=quantization.QuantFormat.QDQ,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
        quantized = onnx.load(int8_file)
    layers = {layer.name for layer in _keras.all_layers(prepared.model)}
    return quantized, _signal_to_noise.by_layer(inferred, quantized, images, layers)


def _calibration_reader(images, batch_size):
    """Return ONNX Runtime's reader of calibration images, which gives them in batches."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """Gives the images batch by batch, then None."""

        def __init__(self):
            # The last batch is filled with the first images
            batch_count = -(-len(images) // batch_size)
            places = np.arange(batch_count * batch_size).reshape(-1, batch_size) % len(images)
            self.batches = ({INPUT: images[batch]} for batch in places)

        def get_next(self):
            return next(self.batches, None)

    return Reader()


def _users_of_dense_layers(graph):
    """Return the names of other nodes that read a dense layer's result."""
    results = {node.output[0] for node in graph.node if node.op_type == "Gemm"}
    return [node.name for node in graph.node if node.op_type != "Gemm" and results & set(node.input)]
