"""Images in: sources, preprocessing, augmentation, pipelines. Each is imported when first used."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "Augment": "augment",
        "ColorComponents": "augment",
        "Preprocessing": "preprocessing",
        "Position": "dataset_state",
        "PrincipalComponents": "whitening",
        "Shapes": "shapes",
        "Share": "sharding",
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
        "prepare": "image_reader",
        "read_image": "image_files",
        "read_pixels": "pipeline",
        "reopen_source": "recorded_source",
        "repeat_scarce": "balance",
        "split_source": "splitting",
        "summarize": "summary",
        "without_broken": "broken_images",
    },
    renamed={"read_picture": "read_image"},
)
