"""The networks, one file a paper. This list is the only registry; a builder's file is imported when first used."""

from keras_cnns._lazy import lazy

# Public name of each builder: the file that holds it.
_BUILDERS = {
    "NiN": "nin",
    "NiNImageNet": "nin",
}

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        **_BUILDERS,
        "create_model": "_registry",
        "decode_predictions": "_registry",
        "list_models": "_registry",
        "list_weights": "_weights",
        "weights_info": "_weights",
    },
)
