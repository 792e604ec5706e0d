"""Recipes of the papers on detection, ordered by year.

Each value is followed by the section of the paper, or the file of the authors, that it is from. "Not reproduced" names
what they do that is not done here. Standard library only.
"""

from keras_cnns.recipes.record import Recipe

# W. Liu et al.: SSD: Single Shot MultiBox Detector, 2016, section 3.1, and examples/ssd/ssd_pascal.py. The training
# images of VOC 2007 and 2012 together are 16,551. Not reproduced: changes of color, images put onto a larger canvas,
# crops that keep a part of an object, and twice the rate of biases.
SSD300_VOC = Recipe(
    name="ssd300-voc",
    builder=("SSD300", "SSD"),
    optimizer="sgd",
    learning_rate=1e-3,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="step",
    decay_at=(2 / 3, 5 / 6),  # 80,000 and 100,000 of 120,000 steps
    decay_factor=(0.1, 0.01),
    batch_size=32,
    epochs=232,  # 120,000 steps
    preprocessing="mean",
    augmentation="flip",
)

SSD512_VOC = SSD300_VOC.replace(name="ssd512-voc", builder="SSD512")

DETECTION = (SSD300_VOC, SSD512_VOC)
