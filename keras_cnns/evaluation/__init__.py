"""Evaluation of any functional Keras model, imported when first used."""

from typing import TYPE_CHECKING

from keras_cnns._lazy import lazy

if TYPE_CHECKING:
    from keras_cnns.evaluation._views import views as views
    from keras_cnns.evaluation.corruption import CORRUPTIONS as CORRUPTIONS
    from keras_cnns.evaluation.corruption import Robustness as Robustness
    from keras_cnns.evaluation.corruption import corrupt as corrupt
    from keras_cnns.evaluation.corruption import robustness as robustness
    from keras_cnns.evaluation.crf import CRF as CRF
    from keras_cnns.evaluation.dense import dense_model as dense_model
    from keras_cnns.evaluation.evaluator import evaluate as evaluate
    from keras_cnns.evaluation.evaluator import predict_images as predict_images
    from keras_cnns.evaluation.evaluator import predict_split as predict_split
    from keras_cnns.evaluation.mask_files import predict_masks as predict_masks
    from keras_cnns.evaluation.metrics import score as score
    from keras_cnns.evaluation.objects import predict_objects as predict_objects
    from keras_cnns.evaluation.plots import draw_mistakes as draw_mistakes
    from keras_cnns.evaluation.plots import draw_predictions as draw_predictions
    from keras_cnns.evaluation.plots import draw_result as draw_result
    from keras_cnns.evaluation.protocols import PROTOCOLS as PROTOCOLS
    from keras_cnns.evaluation.protocols import Protocol as Protocol
    from keras_cnns.evaluation.protocols import grid as grid
    from keras_cnns.tasks.task import Result as Result

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "CORRUPTIONS": "corruption",
        "CRF": "crf",
        "PROTOCOLS": "protocols",
        "Protocol": "protocols",
        "Result": "keras_cnns.tasks.task",
        "Robustness": "corruption",
        "corrupt": "corruption",
        "dense_model": "dense",
        "draw_mistakes": "plots",
        "draw_predictions": "plots",
        "draw_result": "plots",
        "evaluate": "evaluator",
        "grid": "protocols",
        "predict_images": "evaluator",
        "predict_masks": "mask_files",
        "predict_objects": "objects",
        "predict_split": "evaluator",
        "robustness": "corruption",
        "score": "metrics",
        "views": "_views",
    },
    renamed={"predict_pictures": "predict_images"},
)
