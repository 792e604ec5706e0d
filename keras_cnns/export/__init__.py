"""Artifacts for deployment, each proven equal to the model it came from. Imported when first used."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "FORMATS": "formats",
        "Report": "exporting",
        "export_model": "exporting",
        "open_artifact": "runtimes",
    },
)
