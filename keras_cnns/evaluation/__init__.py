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
        "draw_mistakes": "plots",
        "draw_predictions": "plots",
        "draw_result": "plots",
        "evaluate": "evaluator",
        "grid": "protocols",
        "predict_images": "evaluator",
        "predict_split": "evaluator",
        "robustness": "corruption",
        "score": "metrics",
        "views": "_views",
    },
    renamed={"predict_pictures": "predict_images"},
)
