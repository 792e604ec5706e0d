"""Classify an image with an exported TFLite file.

    pip install ai-edge-litert numpy pillow
    python run_tflite.py nin-digits.tflite image.png

Prints the best classes, up to five, with their probabilities. The file must hold its preprocessing (the default) and
class names; it may be quantized. It is also a zip archive, whose keras_cnns.json describes input and output. Needs
read_image.py beside it.
"""

import json
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from read_image import read_image

path, image = sys.argv[1:]
card = json.loads(zipfile.ZipFile(path).read("keras_cnns.json"))

# A quantized input takes pixels plus its zero point (-128 for int8); a quantized output is scaled to probabilities
run = Interpreter(model_path=path).get_signature_runner("serving_default")
pixels = read_image(image, card) + run.get_input_details()["image"]["quantization"][1]
values = run(image=pixels.astype(card["input"]["dtype"]))["probabilities"][0]
scale, zero_point = run.get_output_details()["probabilities"]["quantization"]
probabilities = (np.float32(values) - zero_point) * scale if scale else values
if probabilities.size == 1:  # the probability of the second of two classes
    probabilities = np.append(1 - probabilities, probabilities)
for k in np.argsort(-probabilities, kind="stable")[:5]:
    print(f"{card['classes'][k]}  {probabilities[k]:.1%}")
