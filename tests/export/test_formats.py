"""Every format has all of its parts; docs/contributing/add_a_format.md lists them."""

import inspect

import pytest
from conftest import ROOT

from keras_cnns.export import _runner, conversion, inspection, writers
from keras_cnns.export.formats import FORMATS, OWNERS, QUANTIZATIONS
from keras_cnns.export.options import Options

PARTS = {
    "keras_cnns/export/writers.py: WRITERS": writers.WRITERS,
    "keras_cnns/export/conversion.py: WEIGHT_COPIES": conversion.WEIGHT_COPIES,
    "keras_cnns/export/inspection.py: INSPECTORS": inspection.INSPECTORS,
    "keras_cnns/export/_runner.py: OPENERS": _runner.OPENERS,
}


def missing_parts(name):
    """Return the places where a format is missing."""
    return [place for place, table in PARTS.items() if name not in table]


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_has_all_of_its_parts(name):
    assert missing_parts(name) == []
    assert (ROOT / "examples" / f"run_{name}.py").exists()
    assert f"write_{name}" == writers.WRITERS[name].__name__ and f"open_{name}" == _runner.OPENERS[name].__name__


def test_a_format_without_parts_is_noticed():
    assert missing_parts("toy") == list(PARTS)


@pytest.mark.parametrize("name", FORMATS)
def test_each_quantization_is_offered_or_refused_with_a_reason(name):
    format = FORMATS[name]
    assert "none" in format.quantize and set(format.quantize) <= set(QUANTIZATIONS)
    assert set(QUANTIZATIONS) <= {*format.quantize, *format.instead}
    assert all(reason and not reason.endswith(".") for reason in format.instead.values())


def test_suffixes_differ_and_options_exist():
    suffixes = [format.suffix for format in FORMATS.values()]
    assert not any(first.endswith(second) for first in suffixes for second in suffixes if first is not second)
    assert set(OWNERS) <= set(inspect.signature(Options).parameters)


def test_the_page_names_every_part():
    page = (ROOT / "docs" / "contributing" / "add_a_format.md").read_text("utf8")
    for place in PARTS:
        file, _, table = place.rpartition("/")[2].partition(": ")
        assert f"`{file}`" in page and f"`{table}`" in page, place
