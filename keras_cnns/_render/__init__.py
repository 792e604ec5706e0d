"""The one place that draws, for all rooms. Pictures are PNG files, written whole or not at all."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "benchmark_chart": "charts",
        "confusion_matrix": "measures",
        "network_bars": "charts",
        "network_bubbles": "charts",
        "picture_grid": "pictures",
        "prediction_grid": "pictures",
        "reliability": "measures",
        "robustness_curves": "measures",
        "training_curve": "charts",
    },
)
