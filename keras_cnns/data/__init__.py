"""Pictures in: sources, preprocessing, augmentation, pipelines. Each is imported when first used."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "Preprocessing": "preprocessing",
        "Source": "sources",
        "fit_preprocessing": "pipeline",
        "make_dataset": "pipeline",
        "open_source": "sources",
        "prepare": "pipeline",
        "read_picture": "pictures",
    },
)
