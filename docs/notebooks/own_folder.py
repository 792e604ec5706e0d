# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own folder of images
#
# This notebook starts from a folder with one subfolder per class, fine-tunes a network that comes with trained
# weights, and predicts new images. To use your own images, set `folder` to your folder and leave out the first cell
# of code after the imports.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import Image
from PIL import Image as PillowImage

from keras_cnns import applications, data, evaluation, recipes, saving, training

folder = Path("runs/shapes")
os.environ["TERM"] = "dumb"  # commands show no moving progress bars, which a notebook cannot draw

# %% [markdown]
# ## A folder to try it on
#
# The images here are drawn: discs, triangles and squares, 60 of each for training and 20 of each for the test.

# %%
shapes = data.make_shapes(240, size=64)
for number, (pixels, label) in enumerate(zip(shapes.images, shapes.labels, strict=True)):
    split = "train" if number < 180 else "test"
    path = folder / split / shapes.class_names[label] / f"{number:03}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)

# %% [markdown]
# ## Look at the data first
#
# `cnn-data` counts the images, and names broken ones, duplicates and other problems. The preview shows training
# images as the network gets them, after augmentation.

# %%
# !cnn-data runs/shapes --preview runs/preview.png --augmentation crop-flip --input-size 32 --force

# %%
Image("runs/preview.png", width=600)

# %% [markdown]
# ## Fine-tune
#
# The weights were trained on the photographs of CIFAR-10. All layers start from them, except the classifier: the
# classes differ, so it starts from random values, and a warning says so. The recipe trains 20 epochs; larger steps
# and smaller batches make six enough here.

# %%
source = data.open_source(folder)
weights = applications.weights_info("NiN", "cifar10")
recipe = recipes.FINE_TUNING.replace(epochs=6, batch_size=16, learning_rate=5e-4, warmup_steps=10)
info = training.train(applications.NiN, source, recipe, "runs/fine-tuned", weights=weights, overwrite=True, quiet=True)
print(f"fine-tuned: {info.metrics['test']['top1']:.0%} of {info.metrics['test']['examples']} test images")

# %%
Image("runs/fine-tuned/curve.png", width=600)

# %% [markdown]
# The same recipe from random weights, for comparison. Six epochs of 162 images are too few for it.

# %%
scratch = training.train(
    applications.NiN, source, recipe, "runs/from-scratch", input_size=32, overwrite=True, quiet=True
)
print(f"from scratch: {scratch.metrics['test']['top1']:.0%}")

# %% [markdown]
# ## Predict
#
# Image files of any size and format are read as in training: the model file says how.

# %%
model, info = saving.load_with_info("runs/fine-tuned/model.keras")
paths = sorted((folder / "test").rglob("*.png"))[::8]
probabilities = evaluation.predict_images(model, paths, info.preprocessing)

figure, axes = plt.subplots(2, 4, figsize=(9, 5))
for axis, path, row in zip(axes.flat, paths, probabilities, strict=False):
    axis.imshow(data.read_image(path))
    axis.set_title(f"{info.class_names[row.argmax()]} {row.max():.0%}")
    axis.axis("off")

# %% [markdown]
# The command does the same for files and folders:

# %%
# !cnn-predict runs/fine-tuned/model.keras runs/shapes/test/disc/180.png
