"""Run one artifact with one runtime.

    python run.py RUNTIME ARTIFACT IMAGES.npy OUTPUT.npy

IMAGES holds one image per row, in the artifact's layout and dtype. OUTPUT gets its outputs (images, classes), in the
artifact's dtype. Needs NumPy and that runtime only.
"""

import sys

import numpy as np


def openvino(path, images):
    """Run OpenVINO on the CPU, in float32.

    By default it computes in bfloat16 on processors that have it.
    """
    import openvino

    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [model(image[None])[0].copy() for image in images]


def opencv(path, images):
    """Run OpenCV's dnn module."""
    import cv2

    if path.endswith(".onnx"):
        net = cv2.dnn.readNetFromONNX(path)
    else:
        net = cv2.dnn.readNetFromTFLite(path)
        images = images.transpose(0, 3, 1, 2)  # OpenCV reads TFLite's graphs as channels first
    results = []
    for image in images:
        net.setInput(np.ascontiguousarray(image[None]))
        results.append(net.forward().copy())
    return results


def reference(path, images):
    """Run onnx's reference evaluator, which computes each operator with NumPy."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(path)
    return [evaluator.run(None, {"image": image[None]})[0] for image in images]


def tflm(path, images):
    """Run TensorFlow Lite Micro's interpreter."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(path)
    results = []
    for image in images:
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        results.append(interpreter.get_output(0).copy())
    return results


def main():
    """Run the artifact, and write its outputs."""
    runtime, path, images, output = sys.argv[1:]
    run = {"openvino": openvino, "opencv": opencv, "reference": reference, "tflm": tflm}[runtime]
    results = run(path, np.load(images))
    np.save(output, np.stack([np.asarray(values).reshape(-1) for values in results]))


if __name__ == "__main__":
    main()
