"""All tasks, and how one is found."""

from typing import TYPE_CHECKING

from keras_cnns.data.targets import Target
from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.tasks.classification import Classification
from keras_cnns.tasks.detection import Detection
from keras_cnns.tasks.segmentation import Segmentation
from keras_cnns.tasks.task import Task

if TYPE_CHECKING:
    from keras_cnns.saving import ModelInfo

DEFAULT: Task = Classification()  # of models without a record, and of records that name no task

# A program may add tasks of its own
TASKS: dict[str, Task] = {task.name: task for task in (DEFAULT, Segmentation(), Detection())}


def find_task(name: str | None) -> Task:
    """Return the task of a name.

    Args:
        name: a key of `TASKS`; None: the task of model files that name none.

    Raises:
        ArgumentError: if there is no such task.

    Examples:
        >>> from keras_cnns import tasks
        >>> tasks.find_task(None).name
        'classification'
    """
    if name is None:
        return DEFAULT
    if name not in TASKS:
        raise ArgumentError(
            f"there is no such task.{nearest(name, TASKS)} There are {', '.join(TASKS)}; a program's own task must be "
            f"put into `keras_cnns.tasks.TASKS` first. Received: task={name!r}"
        )
    return TASKS[name]


def task_of(info: "ModelInfo | None") -> Task:
    """Return the task of a model.

    Args:
        info: the model's `ModelInfo`; None if it has none.

    Raises:
        ArgumentError: if its task is not known here.

    Examples:
        >>> from keras_cnns import applications, tasks
        >>> tasks.task_of(applications.weights_info("NiN", "digits")).name
        'classification'
    """
    return find_task(info.task if info else None)


def task_for(target: Target) -> Task:
    """Return the task whose images have targets of a kind.

    Args:
        target: the kind, as `split.target`.

    Raises:
        ArgumentError: if there is none.

    Examples:
        >>> from keras_cnns import data, tasks
        >>> tasks.task_for(data.ClassLabel()).name
        'classification'
    """
    for task in TASKS.values():
        if type(task.target) is type(target):
            return task
    raise ArgumentError(
        f"no task has such targets; put the task into `keras_cnns.tasks.TASKS`. Received: target={target}"
    )


def name_in_record(task: Task) -> str | None:
    """Return what a model file says of its task.

    Files of classifiers say nothing, so that earlier versions read them: then it is None.

    Args:
        task: the task.
    """
    return None if task is DEFAULT else task.name
