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
# # Look inside a network
#
# What does a network respond to, where is the evidence for its answer, and which part of the image does it need?
# This notebook asks Network in Network with the weights `nin:digits`, which come with the package.

# %%
import matplotlib.pyplot as plt
import numpy as np

from keras_cnns import analysis, applications, data

model, info = applications.NiN(weights="digits"), applications.weights_info("NiN", "digits")
test = data.open_source("digits").split("test")
pixels = test.items[:8]
images = info.preprocessing.normalize(pixels.astype("float32"))  # as the network takes them
predicted = model.predict(images, verbose=0).argmax(axis=1)
print("correct:  ", test.labels[:8].tolist())
print("predicted:", predicted.tolist())


# %%
def show(axis, image, title="", **options):
    """Show an image without axes."""
    axis.imshow(np.squeeze(image), **{"cmap": "gray", **options})
    axis.set_title(title, fontsize=9)
    axis.axis("off")


# %% [markdown]
# ## Feature maps
#
# The output of a layer is one map per channel. The first layer responds to strokes and edges, a later one to
# larger parts. Maps of later layers are smaller, because pools have reduced them.

# %%
for layer in ("conv1", "conv2", "conv3"):
    maps = analysis.feature_maps(model, images[:1], layer)[0]
    strongest = np.argsort(-maps.max(axis=(0, 1)))[:10]
    field = analysis.receptive_field(model, layer).size
    figure, axes = plt.subplots(1, 11, figsize=(11, 1.5))
    show(axes[0], pixels[0], layer)
    for axis, channel in zip(axes[1:], strongest, strict=True):
        show(axis, maps[..., channel], f"{channel}", cmap="viridis")
    print(f"{layer}: {maps.shape[0]}x{maps.shape[1]}, {maps.shape[2]} channels; one position sees {field} pixels")

# %% [markdown]
# ## Class maps
#
# Network in Network ends with one map per class and a global average pool. The mean of a class's map, plus its
# bias, is exactly the class's logit. So the map says where the evidence lies. The last layer ends with a ReLU, as in
# the paper: a position can speak for a class, and never against it.

# %%
found = analysis.class_activation_map(model, images)
print("largest difference from the logits:", np.abs(found.maps.mean(axis=(1, 2)) + found.bias - found.scores).max())

limit = found.on_images().max()
figure, axes = plt.subplots(2, 8, figsize=(11, 3))
for above, below, image, heat, target in zip(*axes, pixels, found.on_images(), found.targets, strict=True):
    show(above, image)
    show(below, heat, f"for class {target}", cmap="Reds", vmin=0, vmax=limit)

# %% [markdown]
# Any class can be asked for. The evidence in one image for each of the ten classes:

# %%
repeated = np.repeat(images[:1], 10, axis=0)
per_class = analysis.class_activation_map(model, repeated, target=np.arange(10))
limit = per_class.on_images().max()
figure, axes = plt.subplots(1, 11, figsize=(11, 1.5))
show(axes[0], pixels[0], "image")
for axis, heat, target, score in zip(axes[1:], per_class.on_images(), range(10), per_class.scores, strict=True):
    show(axis, heat, f"{target}: {score:.1f}", cmap="Reds", vmin=0, vmax=limit)

# %% [markdown]
# ## Occlusion
#
# A window of the mean gray hides a part of the image, at each place in turn. Where the probability of the class
# falls, the network needs that part. The last column shows the class that is predicted with the window at each place.

# %%
occluded = analysis.occlusion_map(model, images[:4])
figure, axes = plt.subplots(4, 3, figsize=(6.5, 8))
for row, image, heat, classes, target in zip(
    axes, pixels, occluded.on_images(), occluded.predictions, occluded.targets, strict=False
):
    show(row[0], image, "image")
    show(row[1], heat, f"probability of {target}", cmap="viridis", vmin=0, vmax=1)
    names = ", ".join(map(str, np.unique(classes)))
    show(row[2], classes, f"predicted: {names}", cmap="tab10", vmin=0, vmax=9)
figure.tight_layout()

# %% [markdown]
# ## What excites a unit
#
# The images of the test split that excite one channel of `conv2` most, and the activation projected back to the
# pixels by a deconvnet, as Zeiler and Fergus did in 2014.

# %%
every_image = info.preprocessing.normalize(test.items.astype("float32"))
unit = int(analysis.feature_maps(model, images[:1], "conv2").max(axis=(0, 1, 2)).argmax())
top = analysis.top_activations(model, every_image, "conv2", unit, count=8)
projections = analysis.DeconvNet(model).project(every_image[top.indices], "conv2", unit=unit)
limit = np.abs(projections).max()
figure, axes = plt.subplots(2, 8, figsize=(11, 3))
for above, below, index, projection in zip(*axes, top.indices, projections, strict=True):
    show(above, test.items[index], f"image {index}")
    show(below, projection, vmin=-limit, vmax=limit)

# %% [markdown]
# The command `cnn-visualize nin:digits --data digits --report` draws all of this, and more, on one page.
