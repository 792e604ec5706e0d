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
# # Handwritten digits in two minutes
#
# This notebook trains Network in Network on the 1,797 handwritten digits of scikit-learn, measures it, exports it,
# and runs the exported file. It downloads nothing and takes about two minutes on two CPU cores.

# %%
import matplotlib.pyplot as plt
from IPython.display import Image

from keras_cnns import analysis, applications, data, evaluation, export, recipes, saving, training

# %% [markdown]
# ## The images
#
# A source has splits, and a split of arrays has `items` (uint8 pixels) and `labels`.

# %%
source = data.open_source("digits")
test = source.split("test")
print(source.class_names, {name: split.examples for name, split in source.splits.items()})

figure, axes = plt.subplots(1, 8, figsize=(10, 1.8))
for axis, pixels, label in zip(axes, test.items, test.labels, strict=False):
    axis.imshow(pixels[..., 0], cmap="gray")
    axis.set_title(source.class_names[label])
    axis.axis("off")

# %% [markdown]
# ## The network
#
# A builder returns a plain `keras.Model`. A recipe holds the settings of a training run, among them the options of
# the network that it was made for.

# %%
recipe = recipes.NIN_DIGITS.replace(epochs=12)
model = applications.NiN(classes=10, input_shape=(32, 32, 1), **recipe.network)
costs = analysis.account(model)
print(f"{costs.trainable:,} parameters, {costs.macs / 1e6:.1f} million multiply-adds per image")

# %% [markdown]
# ## Training
#
# `train` builds the network, splits off a tenth of the training images for validation, and calls `model.fit`. The
# folder gets the model, the log and the learning curve. The full recipe takes 30 epochs; twelve are enough for a look.

# %%
info = training.train(applications.NiN, source, recipe, "runs/digits", overwrite=True, quiet=True)
Image("runs/digits/curve.png", width=700)

# %% [markdown]
# ## Evaluation
#
# The model file holds its class names and its preprocessing, so nothing has to be repeated here.

# %%
model, info = saving.load_with_info("runs/digits/model.keras")
result = evaluation.evaluate(model, test, info.preprocessing, info.class_names)
print(f"{result.top1:.2%} of {result.examples} test images")
print({name: f"{share:.0%}" for name, share in result.per_class.items()})

# %%
evaluation.draw_predictions(
    model, test, info.preprocessing, info.class_names, "runs/digits/test.png", "Test images and predictions", count=24
)
Image("runs/digits/test.png", width=700)

# %% [markdown]
# ## Export
#
# Each file is run by its own runtime, in a separate process, and compared with the model before it is kept.

# %%
report = export.export_model(model, "runs/digits/exports", ["tflite", "onnx"], info=info, stem="digits", overwrite=True)
for artifact in report.artifacts:
    parity = artifact.parity
    print(
        f"{artifact.path}: {artifact.bytes:,} bytes, same class for {parity.agreement:.0%} of {parity.examples} images"
    )

# %% [markdown]
# ## Run the exported file
#
# An artifact takes uint8 pixels. Normalization and softmax are inside. The programs in `examples/` do the same
# without this package.

# %%
run = export.open_artifact("runs/digits/exports/digits.tflite")
probabilities = run(test.items[:8])["probabilities"]
print("predicted:", [info.class_names[k] for k in probabilities.argmax(axis=1)])
print("correct:  ", [info.class_names[k] for k in test.labels[:8]])
