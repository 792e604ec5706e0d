"""Around `model.fit`, not instead of it. Each part is imported when first used."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "compile_model": "compilation",
        "policy_for": "compilation",
        "train": "run",
    },
)
