"""Measuring any functional Keras model. Each part is imported when first used."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "Result": "metrics",
        "draw_predictions": "protocols",
        "evaluate": "protocols",
        "predict_pictures": "protocols",
        "score": "metrics",
    },
)
