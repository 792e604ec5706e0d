"""What differs between tasks, imported when first used.

Each task is one class in one file.
"""

from typing import TYPE_CHECKING

from keras_cnns._lazy import lazy

if TYPE_CHECKING:
    from keras_cnns.tasks.box_metric import BoxMetric as BoxMetric
    from keras_cnns.tasks.box_metric import BoxResult as BoxResult
    from keras_cnns.tasks.boxes import Detections as Detections
    from keras_cnns.tasks.class_metric import ClassMetric as ClassMetric
    from keras_cnns.tasks.class_metric import ClassResult as ClassResult
    from keras_cnns.tasks.mask_metric import MaskMetric as MaskMetric
    from keras_cnns.tasks.mask_metric import MaskResult as MaskResult
    from keras_cnns.tasks.registry import TASKS as TASKS
    from keras_cnns.tasks.registry import find_task as find_task
    from keras_cnns.tasks.registry import task_for as task_for
    from keras_cnns.tasks.registry import task_of as task_of
    from keras_cnns.tasks.task import EXACT as EXACT
    from keras_cnns.tasks.task import Encoding as Encoding
    from keras_cnns.tasks.task import Metric as Metric
    from keras_cnns.tasks.task import Monitor as Monitor
    from keras_cnns.tasks.task import Predictor as Predictor
    from keras_cnns.tasks.task import Result as Result
    from keras_cnns.tasks.task import Table as Table
    from keras_cnns.tasks.task import Task as Task

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "BoxMetric": "box_metric",
        "BoxResult": "box_metric",
        "ClassMetric": "class_metric",
        "ClassResult": "class_metric",
        "Detections": "boxes",
        "EXACT": "task",
        "Encoding": "task",
        "MaskMetric": "mask_metric",
        "MaskResult": "mask_metric",
        "Metric": "task",
        "Monitor": "task",
        "Predictor": "task",
        "Result": "task",
        "TASKS": "registry",
        "Table": "task",
        "Task": "task",
        "find_task": "registry",
        "task_for": "registry",
        "task_of": "registry",
    },
)
