"""Recipes of the papers on semantic segmentation, ordered by year.

Each value is followed by the section of the paper, or the file of the authors, that it is from. "Not reproduced" names
what they do and Keras cannot. Standard library only.

Losses here are means over the pixels whose class is known. FCN's files sum over the pixels instead; their rates are
therefore multiplied by the 187,500 pixels of an image of 500x375.
"""

from keras_cnns.recipes.record import Recipe

# J. Long, E. Shelhamer, T. Darrell: Fully Convolutional Networks for Semantic Segmentation, 2015, section 4.3, and
# voc-fcn32s/solver.prototxt. The training split, SBD without the images of the validation, has 8,498 images. Not
# reproduced: biases have twice the rate.
FCN32S_VOC = Recipe(
    name="fcn32s-voc",
    builder="FCN32s",
    network={"dropout": 0.5},
    optimizer="sgd",
    learning_rate=1.9e-5,  # base_lr 1e-10, summed over pixels
    momentum=0.99,
    weight_decay=5e-4,
    schedule="constant",
    batch_size=1,
    epochs=12,  # 100,000 steps
    preprocessing="mean",
)

# The same from the weights of the coarser network. voc-fcn16s and voc-fcn8s: base_lr 1e-12 and 1e-14.
FCN16S_VOC = FCN32S_VOC.replace(name="fcn16s-voc", builder="FCN16s", learning_rate=1.9e-7)
FCN8S_VOC = FCN32S_VOC.replace(name="fcn8s-voc", builder="FCN8s", learning_rate=1.9e-9)

# L. Chen et al.: Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs, 2015, section 5,
# and config/DeepLab-LargeFOV/solver.prototxt. The augmented training split of VOC has 10,582 images. Not reproduced:
# crops of 321x321 that are not resized, the loss at an eighth of the size, and twice the rate of biases.
DEEPLAB_LARGEFOV_VOC = Recipe(
    name="deeplab-largefov-voc",
    builder="DeepLabLargeFOV",
    network={"dropout": 0.5},
    optimizer="sgd",
    learning_rate=0.001,
    momentum=0.9,
    weight_decay=5e-4,
    rates={"fc8": 10.0, "*": 1.0},
    schedule="step",  # section 5: divided by 10 every 2,000 of 6,000 steps
    decay_at=(1 / 3, 2 / 3),
    decay_factor=(0.1, 0.01),
    batch_size=30,  # section 5 says 20
    epochs=17,  # 6,000 steps
    preprocessing="mean",
    augmentation="crop-flip",
)

# S. Zheng et al.: Conditional Random Fields as Recurrent Neural Networks, 2015, section 6.2: from a trained FCN-8s,
# with a rate of 1e-13 that is summed over pixels. Not reproduced: the matrices of the CRF have 10,000 and 1,000 times
# the rate of all others in the authors' file.
CRF_RNN_VOC = FCN32S_VOC.replace(name="crf-rnn-voc", builder="CRFasRNN", learning_rate=1.9e-8)

# L. Chen et al.: DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
# Connected CRFs, 2016, section 4.1: the scores of three sizes of an image are trained, and the largest of them. Not
# reproduced: crops of images at 0.5 to 1.5 times their size, of which the smaller ones are padded.
DEEPLAB_ASPP_VOC = Recipe(
    name="deeplab-aspp-voc",
    builder="DeepLabASPP",
    network={"freeze_batch_norm": True, "multi_scale": True},
    optimizer="sgd",
    learning_rate=2.5e-4,
    momentum=0.9,
    weight_decay=5e-4,
    rates={"fc1_c*": 10.0, "*": 1.0},
    schedule="polynomial",
    power=0.9,
    batch_size=10,
    epochs=19,  # 20,000 steps
    preprocessing="mean",
    augmentation="crop-flip",
    auxiliary_weight=1.0,
)

SEGMENTATION = (FCN32S_VOC, FCN16S_VOC, FCN8S_VOC, DEEPLAB_LARGEFOV_VOC, CRF_RNN_VOC, DEEPLAB_ASPP_VOC)
