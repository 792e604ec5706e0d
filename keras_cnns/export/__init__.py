"""Deployment artifacts, each compared with the model it came from."""

from typing import TYPE_CHECKING

from keras_cnns._lazy import lazy

if TYPE_CHECKING:
    from keras_cnns.export._benchmark import Benchmark as Benchmark
    from keras_cnns.export._benchmark import benchmark as benchmark
    from keras_cnns.export._verify import verify as verify
    from keras_cnns.export.exporter import export_model as export_model
    from keras_cnns.export.formats import FORMATS as FORMATS
    from keras_cnns.export.formats import QUANTIZATIONS as QUANTIZATIONS
    from keras_cnns.export.options import Options as Options
    from keras_cnns.export.reports import Report as Report
    from keras_cnns.export.runtimes import format_of as format_of
    from keras_cnns.export.runtimes import open_artifact as open_artifact

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
        "verify": "_verify",
    },
)
