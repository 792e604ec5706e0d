"""The one place that draws, for all rooms. Images are PNG files, written whole or not at all."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "benchmark_chart": "charts",
        "class_map_grid": "maps",
        "confusion_matrix": "measures",
        "correspondence_bars": "curves",
        "embedding_scatter": "curves",
        "feature_map_grid": "maps",
        "filter_grid": "maps",
        "gradient_flow_chart": "curves",
        "invariance_curves": "curves",
        "network_bars": "charts",
        "network_bubbles": "charts",
        "occlusion_grid": "maps",
        "image_grid": "images",
        "prediction_grid": "images",
        "projection_grid": "projections",
        "reliability": "measures",
        "robustness_curves": "measures",
        "snapshot_grid": "curves",
        "training_curve": "charts",
        "unit_activity_chart": "curves",
    },
)
