"""Training around `model.fit`. Each part is imported when first used."""

from typing import TYPE_CHECKING

from keras_cnns._lazy import lazy

if TYPE_CHECKING:
    from keras_cnns.training._callbacks import callbacks as callbacks
    from keras_cnns.training._train import train as train
    from keras_cnns.training.compilation import compile_model as compile_model
    from keras_cnns.training.compilation import set_biases as set_biases
    from keras_cnns.training.compilation import targets as targets
    from keras_cnns.training.datasets import holds_photographs as holds_photographs
    from keras_cnns.training.datasets import make_datasets as make_datasets
    from keras_cnns.training.datasets import shorter_side as shorter_side
    from keras_cnns.training.devices import Distribution as Distribution
    from keras_cnns.training.devices import distribution as distribution
    from keras_cnns.training.devices import use_device as use_device
    from keras_cnns.training.precision import policy_for as policy_for
    from keras_cnns.training.stops import TimeUp as TimeUp
    from keras_cnns.training.transfer import freeze as freeze
    from keras_cnns.training.transfer import transfer_weights as transfer_weights

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "TimeUp": "stops",
        "callbacks": "_callbacks",
        "compile_model": "compilation",
        "Distribution": "devices",
        "distribution": "devices",
        "freeze": "transfer",
        "holds_photographs": "datasets",
        "make_datasets": "datasets",
        "policy_for": "precision",
        "set_biases": "compilation",
        "shorter_side": "datasets",
        "targets": "compilation",
        "train": "_train",
        "transfer_weights": "transfer",
        "use_device": "devices",
    },
)
