"""Classify an image with an exported TFLite file: prints its best classes, up to five, with their probabilities.

    pip install ai-edge-litert numpy pillow
    python run_tflite.py nin-digits.tflite image.png

For files with the preprocessing inside (the default) and class names; quantized ones too. The file is a zip archive
as well, and says in keras_cnns.json what it takes and gives. Needs read_image.py beside it.
"""

import json
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from read_image import read_image

path, image = sys.argv[1:]
card = json.loads(zipfile.ZipFile(path).read("keras_cnns.json"))

# Integers may stand for other numbers: int8 for pixels minus 128, and in the output for shares
run = Interpreter(model_path=path).get_signature_runner("serving_default")
pixels = read_image(image, card) + run.get_input_details()["image"]["quantization"][1]
values = run(image=pixels.astype(card["input"]["dtype"]))["probabilities"][0]
scale, zero_point = run.get_output_details()["probabilities"]["quantization"]
probabilities = (np.float32(values) - zero_point) * scale if scale else values
if probabilities.size == 1:  # of the second of two classes
    probabilities = np.append(1 - probabilities, probabilities)
for k in np.argsort(-probabilities, kind="stable")[:5]:
    print(f"{card['classes'][k]}  {probabilities[k]:.1%}")
