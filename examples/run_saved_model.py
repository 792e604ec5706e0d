"""Classify an image with an exported SavedModel.

    pip install tensorflow
    python run_saved_model.py nin-digits_saved_model image.png

Prints the best classes, up to five, with their probabilities. The folder must hold its preprocessing (the default) and
class names. The SavedModel itself decodes the image, resizes it and names the classes, as it does for a server. It
takes JPEG and PNG files and refuses others.
"""

import sys

import tensorflow as tf

folder, image = sys.argv[1:]
model = tf.saved_model.load(folder)
results = model.signatures["serve_image_bytes"](image_bytes=tf.io.read_file(image)[None])
for name, probability in zip(results["top_labels"][0].numpy(), results["top_probabilities"][0].numpy(), strict=True):
    print(f"{name.decode()}  {probability:.1%}")
