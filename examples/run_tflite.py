"""Classify a picture with an exported TFLite file: prints its best classes, up to five, with their probabilities.

    pip install ai-edge-litert numpy pillow
    python run_tflite.py nin-digits.tflite picture.png

For files with the preprocessing inside (the default) and class names; quantized ones too. The file is a zip archive
as well, and says in keras_cnns.json what it takes and gives.
"""

import json
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

path, picture = sys.argv[1:]
card = json.loads(zipfile.ZipFile(path).read("keras_cnns.json"))
(_, height, width, channels), side = card["input"]["shape"], card["preprocessing"]["shorter_side"]

# As in training: the picture is stretched, or resized by its shorter side and the center cut out
image = ImageOps.exif_transpose(Image.open(picture)).convert("L" if channels == 1 else "RGB")
image = ImageOps.cover(image, (side, side), Image.BILINEAR) if side else image.resize((width, height), Image.BILINEAR)
left, top = (image.width - width) // 2, (image.height - height) // 2
image = image.crop((left, top, left + width, top + height))

# Integers may stand for other numbers: int8 for pixels minus 128, and in the output for shares
run = Interpreter(model_path=path).get_signature_runner("serving_default")
pixels = np.float32(image).reshape(1, height, width, channels) + run.get_input_details()["image"]["quantization"][1]
values = run(image=pixels.astype(card["input"]["dtype"]))["probabilities"][0]
scale, zero_point = run.get_output_details()["probabilities"]["quantization"]
probabilities = (np.float32(values) - zero_point) * scale if scale else values
for k in np.argsort(-probabilities, kind="stable")[:5]:
    print(f"{card['classes'][k]}  {probabilities[k]:.1%}")
