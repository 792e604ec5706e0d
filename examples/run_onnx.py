"""Classify an image with an exported ONNX file.

    pip install onnxruntime numpy pillow
    python run_onnx.py nin-digits.onnx image.png

Prints the best classes, up to five, with their probabilities. The file must hold its preprocessing (the default) and
class names; it may be quantized. Its metadata describe input and output under keras_cnns.json. Needs
read_image.py beside it.
"""

import json
import sys

import numpy as np
import onnxruntime
from read_image import read_image

path, image = sys.argv[1:]
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
card = json.loads(session.get_modelmeta().custom_metadata_map["keras_cnns.json"])

pixels = read_image(image, card).astype(card["input"]["dtype"])
if card["input"]["layout"] == "nchw":
    pixels = pixels.transpose(0, 3, 1, 2)
probabilities = session.run(["probabilities"], {"image": pixels})[0][0]
if probabilities.size == 1:  # the probability of the second of two classes
    probabilities = np.append(1 - probabilities, probabilities)
for k in np.argsort(-probabilities, kind="stable")[:5]:
    print(f"{card['classes'][k]}  {probabilities[k]:.1%}")
