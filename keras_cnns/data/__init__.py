"""Pictures in: sources, preprocessing, augmentation, pipelines. Each is imported when first used."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "Preprocessing": "preprocessing",
        "PrincipalComponents": "whitening",
        "Source": "sources",
        "Whitening": "whitening",
        "fit_components": "whitening",
        "fit_preprocessing": "statistics",
        "make_dataset": "pipeline",
        "open_source": "sources",
        "prepare": "pipeline",
        "read_picture": "pictures",
    },
)
