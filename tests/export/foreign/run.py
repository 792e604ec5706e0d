"""Run one artifact with one runtime. It needs NumPy and that runtime only.

    python run.py RUNTIME ARTIFACT IMAGES.npy OUTPUT.npy

IMAGES is what the artifact takes, one image a row, in its own layout and dtype; OUTPUT gets what it gives, (images,
classes), in its own dtype.
"""

import sys

import numpy as np


def openvino(path, images):
    """OpenVINO on the CPU, in float32: on processors with bfloat16 it would compute in that."""
    import openvino

    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [model(image[None])[0].copy() for image in images]


def opencv(path, images):
    """OpenCV's dnn module."""
    import cv2

    if path.endswith(".onnx"):
        net = cv2.dnn.readNetFromONNX(path)
    else:
        net = cv2.dnn.readNetFromTFLite(path)
        images = images.transpose(0, 3, 1, 2)  # it reads TFLite's graphs as channels first
    results = []
    for image in images:
        net.setInput(np.ascontiguousarray(image[None]))
        results.append(net.forward().copy())
    return results


def reference(path, images):
    """onnx's reference evaluator: NumPy, operator by operator."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(path)
    return [evaluator.run(None, {"image": image[None]})[0] for image in images]


def tflm(path, images):
    """TensorFlow Lite Micro's interpreter."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(path)
    results = []
    for image in images:
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        results.append(interpreter.get_output(0).copy())
    return results


def main():
    """Run it, and write the outputs."""
    runtime, path, images, output = sys.argv[1:]
    run = {"openvino": openvino, "opencv": opencv, "reference": reference, "tflm": tflm}[runtime]
    results = run(path, np.load(images))
    np.save(output, np.stack([np.asarray(values).reshape(-1) for values in results]))


if __name__ == "__main__":
    main()
