"""Pictures in: sources, preprocessing, augmentation, pipelines. Each is imported when first used."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "ColorComponents": "augment",
        "Preprocessing": "preprocessing",
        "Position": "position",
        "PrincipalComponents": "whitening",
        "Shapes": "shapes",
        "Share": "shares",
        "Source": "sources",
        "Summary": "summary",
        "Whitening": "whitening",
        "class_weights": "balance",
        "drop_surplus": "balance",
        "fit_color": "pipeline",
        "fit_components": "whitening",
        "fit_preprocessing": "statistics",
        "keep_on_device": "on_device",
        "make_dataset": "pipeline",
        "make_shapes": "shapes",
        "open_images": "folders",
        "open_source": "sources",
        "prepare": "pipeline",
        "read_picture": "pictures",
        "read_pixels": "pipeline",
        "reopen_source": "reopening",
        "repeat_scarce": "balance",
        "split_source": "partition",
        "summarize": "summary",
        "without_broken": "readable",
    },
)
