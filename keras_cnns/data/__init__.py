"""Sources, preprocessing, augmentation and pipelines, each imported when first used."""

from typing import TYPE_CHECKING

from keras_cnns._lazy import lazy

if TYPE_CHECKING:
    from keras_cnns.data.augment import Augment as Augment
    from keras_cnns.data.augment import ColorComponents as ColorComponents
    from keras_cnns.data.balance import class_weights as class_weights
    from keras_cnns.data.balance import drop_surplus as drop_surplus
    from keras_cnns.data.balance import repeat_scarce as repeat_scarce
    from keras_cnns.data.box_target import Boxes as Boxes
    from keras_cnns.data.broken_images import without_broken as without_broken
    from keras_cnns.data.dataset_state import Position as Position
    from keras_cnns.data.folders import open_images as open_images
    from keras_cnns.data.image_files import read_image as read_image
    from keras_cnns.data.image_reader import prepare as prepare
    from keras_cnns.data.on_device import keep_on_device as keep_on_device
    from keras_cnns.data.pipeline import fit_color as fit_color
    from keras_cnns.data.pipeline import make_dataset as make_dataset
    from keras_cnns.data.pipeline import read_pixels as read_pixels
    from keras_cnns.data.preprocessing import Preprocessing as Preprocessing
    from keras_cnns.data.recorded_source import reopen_source as reopen_source
    from keras_cnns.data.scenes import Scenes as Scenes
    from keras_cnns.data.scenes import make_scenes as make_scenes
    from keras_cnns.data.shapes import Shapes as Shapes
    from keras_cnns.data.shapes import make_shapes as make_shapes
    from keras_cnns.data.sharding import Share as Share
    from keras_cnns.data.sources import Source as Source
    from keras_cnns.data.sources import open_source as open_source
    from keras_cnns.data.splits import ArraySplit as ArraySplit
    from keras_cnns.data.splitting import split_source as split_source
    from keras_cnns.data.statistics import fit_preprocessing as fit_preprocessing
    from keras_cnns.data.summary import Summary as Summary
    from keras_cnns.data.summary import summarize as summarize
    from keras_cnns.data.targets import ClassLabel as ClassLabel
    from keras_cnns.data.targets import Mask as Mask
    from keras_cnns.data.targets import Target as Target
    from keras_cnns.data.views import View as View
    from keras_cnns.data.whitening import PrincipalComponents as PrincipalComponents
    from keras_cnns.data.whitening import Whitening as Whitening
    from keras_cnns.data.whitening import fit_components as fit_components

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "ArraySplit": "splits",
        "Augment": "augment",
        "ClassLabel": "targets",
        "ColorComponents": "augment",
        "Boxes": "box_target",
        "Mask": "targets",
        "Preprocessing": "preprocessing",
        "Position": "dataset_state",
        "PrincipalComponents": "whitening",
        "Scenes": "scenes",
        "Shapes": "shapes",
        "Share": "sharding",
        "Source": "sources",
        "Summary": "summary",
        "Target": "targets",
        "View": "views",
        "Whitening": "whitening",
        "class_weights": "balance",
        "drop_surplus": "balance",
        "fit_color": "pipeline",
        "fit_components": "whitening",
        "fit_preprocessing": "statistics",
        "keep_on_device": "on_device",
        "make_dataset": "pipeline",
        "make_scenes": "scenes",
        "make_shapes": "shapes",
        "open_images": "folders",
        "open_source": "sources",
        "prepare": "image_reader",
        "read_image": "image_files",
        "read_pixels": "pipeline",
        "reopen_source": "recorded_source",
        "repeat_scarce": "balance",
        "split_source": "splitting",
        "summarize": "summary",
        "without_broken": "broken_images",
    },
    renamed={"read_picture": "read_image"},
)
