"""Artifacts for deployment, each proven equal to the model it came from. Imported when first used."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "Benchmark": "_benchmark",
        "FORMATS": "formats",
        "Options": "options",
        "QUANTIZATIONS": "formats",
        "Report": "reports",
        "benchmark": "_benchmark",
        "export_model": "exporter",
        "format_of": "runtimes",
        "open_artifact": "runtimes",
        "verify": "exporter",
    },
)
