"""Around `model.fit`, not instead of it. Each part is imported when first used."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "TimeUp": "_callbacks",
        "callbacks": "watching",
        "compile_model": "compilation",
        "Distribution": "devices",
        "distribution": "devices",
        "freeze": "transfer",
        "holds_photographs": "datasets",
        "make_datasets": "datasets",
        "policy_for": "compilation",
        "set_biases": "compilation",
        "shorter_side": "datasets",
        "targets": "compilation",
        "train": "_train",
        "transfer_weights": "transfer",
        "use_device": "compilation",
    },
)
