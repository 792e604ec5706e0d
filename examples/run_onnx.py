"""Classify a picture with an exported ONNX file: prints its best classes, up to five, with their probabilities.

    pip install onnxruntime numpy pillow
    python run_onnx.py nin-digits.onnx picture.png

For files with the preprocessing inside (the default) and class names; quantized ones too. The file's metadata say
under keras_cnns.json what it takes and gives.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

path, picture = sys.argv[1:]
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
card = json.loads(session.get_modelmeta().custom_metadata_map["keras_cnns.json"])
(_, height, width, channels), side = card["input"]["shape"], card["preprocessing"]["shorter_side"]

# As in training: the picture is stretched, or resized by its shorter side and the center cut out
image = ImageOps.exif_transpose(Image.open(picture)).convert("L" if channels == 1 else "RGB")
image = ImageOps.cover(image, (side, side), Image.BILINEAR) if side else image.resize((width, height), Image.BILINEAR)
left, top = (image.width - width) // 2, (image.height - height) // 2
image = image.crop((left, top, left + width, top + height))

pixels = np.array(image, card["input"]["dtype"]).reshape(1, height, width, channels)
if card["input"]["layout"] == "nchw":
    pixels = pixels.transpose(0, 3, 1, 2)
probabilities = session.run(["probabilities"], {"image": pixels})[0][0]
for k in np.argsort(-probabilities, kind="stable")[:5]:
    print(f"{card['classes'][k]}  {probabilities[k]:.1%}")
