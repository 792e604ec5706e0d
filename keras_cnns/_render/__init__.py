"""All plots of the package.

Each is a PNG file, written completely or not at all.
"""

from typing import TYPE_CHECKING

from keras_cnns._lazy import lazy

if TYPE_CHECKING:  # for editors and type checkers, which do not see the lazy table
    from keras_cnns._render.boxes import box_grid as box_grid
    from keras_cnns._render.charts import benchmark_chart as benchmark_chart
    from keras_cnns._render.charts import network_bars as network_bars
    from keras_cnns._render.charts import network_bubbles as network_bubbles
    from keras_cnns._render.charts import training_curve as training_curve
    from keras_cnns._render.curves import correspondence_bars as correspondence_bars
    from keras_cnns._render.curves import invariance_curves as invariance_curves
    from keras_cnns._render.embeddings import embedding_scatter as embedding_scatter
    from keras_cnns._render.images import image_grid as image_grid
    from keras_cnns._render.images import prediction_grid as prediction_grid
    from keras_cnns._render.layer_charts import gradient_flow_chart as gradient_flow_chart
    from keras_cnns._render.layer_charts import unit_activity_chart as unit_activity_chart
    from keras_cnns._render.maps import class_map_grid as class_map_grid
    from keras_cnns._render.maps import occlusion_grid as occlusion_grid
    from keras_cnns._render.masks import mask_grid as mask_grid
    from keras_cnns._render.measures import confusion_matrix as confusion_matrix
    from keras_cnns._render.measures import precision_recall as precision_recall
    from keras_cnns._render.measures import reliability as reliability
    from keras_cnns._render.measures import robustness_curves as robustness_curves
    from keras_cnns._render.projections import projection_grid as projection_grid
    from keras_cnns._render.tiles import feature_map_grid as feature_map_grid
    from keras_cnns._render.tiles import filter_grid as filter_grid
    from keras_cnns._render.tiles import snapshot_grid as snapshot_grid

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "benchmark_chart": "charts",
        "box_grid": "boxes",
        "class_map_grid": "maps",
        "confusion_matrix": "measures",
        "correspondence_bars": "curves",
        "embedding_scatter": "embeddings",
        "feature_map_grid": "tiles",
        "filter_grid": "tiles",
        "gradient_flow_chart": "layer_charts",
        "image_grid": "images",
        "invariance_curves": "curves",
        "mask_grid": "masks",
        "network_bars": "charts",
        "network_bubbles": "charts",
        "occlusion_grid": "maps",
        "precision_recall": "measures",
        "prediction_grid": "images",
        "projection_grid": "projections",
        "reliability": "measures",
        "robustness_curves": "measures",
        "snapshot_grid": "tiles",
        "training_curve": "charts",
        "unit_activity_chart": "layer_charts",
    },
)
