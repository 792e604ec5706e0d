"""Measuring any functional Keras model. Each part is imported when first used."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "CORRUPTIONS": "corruption",
        "PROTOCOLS": "protocols",
        "Protocol": "protocols",
        "Result": "metrics",
        "Robustness": "corruption",
        "corrupt": "corruption",
        "dense_model": "dense",
        "draw_mistakes": "drawing",
        "draw_predictions": "drawing",
        "draw_result": "drawing",
        "evaluate": "measuring",
        "grid": "protocols",
        "predict_pictures": "measuring",
        "predict_split": "measuring",
        "robustness": "corruption",
        "score": "metrics",
        "views": "showing",
    },
)
