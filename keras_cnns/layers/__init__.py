"""Layers that Keras lacks, or that are slow in Keras.

Importing this package registers them for `keras.saving`.
"""

from keras_cnns import _quiet
from keras_cnns._lazy import dir_of

with _quiet.starting():
    from keras_cnns.layers.channels import LocalResponseNormalization, Maxout, SplitConv2D, ZeroPadShortcut
    from keras_cnns.layers.crf import DenseCRF
    from keras_cnns.layers.l2_normalization import L2Normalization
    from keras_cnns.layers.lenet import ConnectionTableConv2D, RBFOutput, TrainableSubsampling, scaled_tanh
    from keras_cnns.layers.normalization import BatchNormalization
    from keras_cnns.layers.pooling import CeilAveragePooling2D, CeilMaxPooling2D, ceil_pooling
    from keras_cnns.layers.scales import Rescale2D, ResizeLike
    from keras_cnns.layers.sizes import BilinearKernel, BilinearUpSampling2D, CropLike, PadToMultiple
    from keras_cnns.layers.ssd_boxes import ObjectScores, SSDBoxes, default_boxes

__all__ = [
    "BatchNormalization",
    "BilinearKernel",
    "BilinearUpSampling2D",
    "CeilAveragePooling2D",
    "CeilMaxPooling2D",
    "ConnectionTableConv2D",
    "CropLike",
    "DenseCRF",
    "L2Normalization",
    "LocalResponseNormalization",
    "Maxout",
    "ObjectScores",
    "PadToMultiple",
    "RBFOutput",
    "Rescale2D",
    "ResizeLike",
    "SSDBoxes",
    "SplitConv2D",
    "TrainableSubsampling",
    "ZeroPadShortcut",
    "ceil_pooling",
    "default_boxes",
    "scaled_tanh",
]
__dir__ = dir_of(__all__)
