"""cnn-visualize draws, reports, and refuses bad arguments."""

import json

import pytest
from PIL import Image

from keras_cnns.analysis.visualizations import VISUALIZATIONS
from keras_cnns.data import open_source


@pytest.fixture
def digit(tmp_path):
    path = tmp_path / "digit.png"
    Image.fromarray(open_source("digits").split("test").items[3, ..., 0]).save(path)
    return path


def test_the_usual_drawings(cli, digit, tmp_path):
    code, out, err = cli("visualize", "nin:digits", digit, "--output", tmp_path / "out")
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cam.png", "occlusion.png", "saliency.png"]
    assert len(out.splitlines()) == 3 and "class activation map" in out
    code, _, err = cli("visualize", "nin:digits", digit, "--output", tmp_path / "out")
    assert code == 2 and "--force" in err


@pytest.mark.slow
def test_a_report_of_everything(cli, digit, tmp_path):
    arguments = ["--data", "digits", "--count", 40, "--report", "--output", tmp_path / "out", "--json"]
    code, out, err = cli("visualize", "nin:digits", digit, *arguments)
    assert code == 0, err
    drawings = {drawing["what"]: drawing for drawing in json.loads(out)["drawings"]}
    assert list(drawings) == list(VISUALIZATIONS) and all(drawing["file"] for drawing in drawings.values())
    assert "40 images" in drawings["embedding"]["says"]
    page = (tmp_path / "out" / "report.html").read_text("utf8")
    assert all(kind.title in page for kind in VISUALIZATIONS.values()) and "digit.png" in page


@pytest.mark.slow
def test_a_report_says_what_cannot_be_drawn(cli, digit, tmp_path):
    code, out, _ = cli("visualize", "lenet5:mnist", digit, "--report", "--output", tmp_path / "out")
    assert code == 0
    assert "guided: not drawn. " in out and "ReLU" in out  # LeNet-5 has none
    assert "gradients: not drawn. " in out  # these images have no labels


@pytest.mark.parametrize(
    "arguments, part",
    [
        ([], "give images to look at"),
        (["--what", "embedding", "IMAGE"], "--data SOURCE"),
        (["--what", "deconv", "--layer", "cpp1", "IMAGE"], "Did you mean 'cccp1'"),
        (["--what", "deconv", "--layer", "conv1", "--unit", 500, "IMAGE"], "500"),
        (["--target", "eleven", "IMAGE"], "`target` must be a class"),
        (["--target", "11", "IMAGE"], "by its number, 0 to 9"),
        (["--report", "--target", "11", "IMAGE"], "by its number, 0 to 9"),
        (["--what", "deconvnet", "IMAGE"], "'deconv'"),
        (["/proc"], "IMAGE is a file, and this is a folder: /proc"),
        (["--what", "guided", "--data", "digits", "IMAGE"], None),
    ],
)
def test_arguments_are_checked(cli, digit, tmp_path, arguments, part):
    arguments = [digit if argument == "IMAGE" else argument for argument in arguments]
    code, out, err = cli("visualize", "nin:digits", *arguments, "--output", tmp_path / "out")
    assert (code == 0) if part is None else (code == 2 and out == "" and part in err), err


def test_a_broken_image_is_named(cli, digit, tmp_path):
    digit.write_bytes(digit.read_bytes()[:60])
    code, _, err = cli("visualize", "nin:digits", digit, "--output", tmp_path / "out")
    assert code == 3 and "digit.png" in err
