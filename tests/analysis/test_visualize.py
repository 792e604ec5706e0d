"""Every kind of visualization, and the HTML report."""

import base64
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest
from analysis.helpers import random_pixels
from keras import layers
from PIL import Image

from keras_cnns.analysis._image_set import ImageSet, read_images, sample_images
from keras_cnns.analysis._visualize import PLOTS, visualize
from keras_cnns.analysis.report import write_report
from keras_cnns.analysis.visualizations import VISUALIZATIONS
from keras_cnns.data import open_source
from keras_cnns.errors import ArgumentError

NAMES = ["cat", "dog", "a <b>bold</b> class"]


def model(head):
    """Return a small network with the head "pooled" or "flat"."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((20, 16, 3))
    x = layers.Conv2D(6, 3, activation="relu", name="conv1")(inputs)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="conv2")(x)
    x = layers.GlobalAveragePooling2D(name="gap")(x) if head == "pooled" else layers.Flatten(name="flat")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="predictions")(x), name="small")


@pytest.fixture
def sample():
    pixels = random_pixels(5, 20, 16, 3)
    return ImageSet(pixels, np.float32(pixels / 128 - 1), [f"{k}.png" for k in range(5)], np.arange(5) % 3)


def test_every_kind_has_a_plot():
    assert list(VISUALIZATIONS) == list(PLOTS)


@pytest.mark.parametrize("head", ["pooled", pytest.param("flat", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", VISUALIZATIONS)
def test_plots(kind, head, sample, tmp_path):
    summary = visualize(model(head), kind, tmp_path / "a.png", sample, class_names=NAMES)
    assert summary.endswith(".") and len(summary) > 10
    with Image.open(tmp_path / "a.png") as plot:
        assert plot.format == "PNG" and min(plot.size) > 150
        assert len(np.unique(np.asarray(plot.convert("L")))) > 20
    if kind == "cam":
        assert ("Grad-CAM" in summary) == (head == "flat")


def test_layer_units_and_target_are_used(sample, tmp_path):
    path, net = tmp_path / "a.png", model("pooled")
    assert "conv2: 8 filters of 3x3 on 6 channels" in visualize(net, "filters", path, layer="conv2")
    assert "pool1: 9x7, 6 channels" in visualize(net, "features", path, sample, layer="pool1", units=[1, 5])
    summary = visualize(net, "deconv", path, sample, layer="conv1", units=[4])
    assert summary.startswith("conv1") and "unit 4" in summary and "unit 3" not in summary
    assert "dog" in visualize(net, "saliency", path, sample, class_names=NAMES, target=1)
    assert "conv1" in visualize(net, "cam", path, sample, layer="conv1")


@pytest.mark.parametrize(
    "options, part",
    [
        ({"kind": "ocllusion"}, "Did you mean 'occlusion'"),
        ({"kind": "cam", "images": None}, "`cam` needs images"),
        ({"kind": "gradients", "labels": None}, "images whose classes are known"),
        ({"kind": "features", "layer": "conv3"}, "Did you mean 'conv2'"),
        ({"kind": "features", "layer": "gap"}, "must output maps; gap outputs a vector"),
        ({"kind": "filters", "units": [6]}, "numbers from 0 to 5"),
        ({"kind": "saliency", "target": 3}, "between 0 and 2"),
    ],
)
def test_bad_input_is_rejected(options, part, sample, tmp_path):
    options = dict(options)
    images = options.pop("images", sample)
    if "labels" in options:
        images = ImageSet(sample.pixels, sample.images, sample.names, options.pop("labels"))
    with pytest.raises(ArgumentError, match=part):
        visualize(model("pooled"), options.pop("kind"), tmp_path / "a.png", images, **options)
    assert not list(tmp_path.iterdir())


def test_read_images_and_sample_images(digits_model, folder_of_images):
    _, record = digits_model
    split = open_source("digits").split("test")
    found = sample_images(split, record.preprocessing, record.class_names, 7)
    assert found.pixels.shape == found.images.shape == (7, 32, 32, 1) and found.images.dtype == np.float32
    assert found.names == [str(label) for label in found.labels]
    expected = record.preprocessing.normalize(found.pixels.astype("float32"))
    np.testing.assert_array_equal(found.images, np.float32(expected))
    files = sorted(folder_of_images.rglob("*.png"))[:3]
    read = read_images(files, record.preprocessing)
    assert read.pixels.shape == (3, 32, 32, 1) and read.names == [file.name for file in files] and read.labels is None


def write_page(sample, folder):
    net = model("pooled")
    paths = {kind: folder / f"{kind}.png" for kind in ("cam", "filters")}
    shown = {kind: (path, visualize(net, kind, path, sample, class_names=NAMES)) for kind, path in paths.items()}
    shown["guided"] = None, "it has no ReLU & cannot"
    path = folder / "report.html"
    probabilities = np.asarray(net.predict_on_batch(sample.images))
    write_report(path, net, sample, probabilities, NAMES, shown, "<small>, looked into")
    return path


def test_the_page_contains_everything(sample, tmp_path):
    page = write_page(sample, tmp_path).read_text("utf8")
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page  # nothing is loaded from elsewhere
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(images) == 5 + 2
    assert base64.b64decode(images[-1]) == (tmp_path / "filters.png").read_bytes()
    assert "&lt;small&gt;, looked into" in page and "a &lt;b&gt;bold&lt;/b&gt; class" in page
    assert "Not drawn: it has no ReLU &amp; cannot" in page
    assert "<td>conv2</td>" in page and "8x8" in page  # its receptive field
    # Predictions and where it looks come first; filters and the table of layers are folded below.
    parts = ("What it predicts", "Where it looks", "<details>", "Filters", "trained parameters")
    places = [page.index(part) for part in parts]
    assert places == sorted(places) and page.count("<details>") == page.count("</details>") == 3


def test_what_people_look_for_comes_first_and_the_rest_is_folded(sample, tmp_path):
    net, path = model("pooled"), tmp_path / "report.html"
    probabilities = np.asarray(net.predict_on_batch(sample.images))
    wrong = np.flatnonzero(probabilities.argmax(1) != sample.labels)
    shown = {kind: (None, f"{kind} was left out") for kind in reversed(VISUALIZATIONS)}
    write_report(path, net, sample, probabilities, NAMES, shown, "small")
    page = path.read_text("utf8")
    open_part, *folds = page.split("<details>")
    titles = re.findall("<h2>(.*?)</h2>", open_part)
    first = [VISUALIZATIONS[kind].title for kind in ("cam", "occlusion", "saliency")]
    assert titles == ["What it predicts", *first, "Details"]
    folded = [re.match("<summary>(.*?)</summary>", fold)[1] for fold in folds]
    others = [kind.title for kind in reversed(VISUALIZATIONS.values()) if kind.title not in first]
    assert folded[:-1] == others and folded[-1].endswith("layers") and "<details open" not in page
    count = len(sample.images)
    assert f"Predicted correctly: {count - len(wrong)} of {count} images." in open_part
    assert page.count('<figure class="wrong">') == len(wrong)


@pytest.mark.parametrize("labels", [None, "right", "wrong"])
def test_wrong_predictions_are_marked(labels, sample, tmp_path):
    net = model("pooled")
    probabilities = np.asarray(net.predict_on_batch(sample.images))
    best = probabilities.argmax(1)
    labels = {None: None, "right": best, "wrong": (best + 1) % 3}[labels]
    images = ImageSet(sample.pixels, sample.images, sample.names, labels)
    write_report(tmp_path / "a.html", net, images, probabilities, NAMES, {}, "small")
    page, count = (tmp_path / "a.html").read_text("utf8"), len(best)
    is_wrong = labels is not None and labels[0] != best[0]
    assert page.count('<figure class="wrong">') == count * is_wrong
    assert ("marked in red" in page) == is_wrong and ("Predicted correctly" in page) == (labels is not None)


def test_the_page_in_a_browser(sample, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    path, shot = write_page(sample, tmp_path), tmp_path / "shot.png"
    subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,1600"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}", path.as_uri()),
        ],
        capture_output=True,
        timeout=120,
        check=True,
    )
    with Image.open(shot) as page:
        pixels = np.asarray(page.convert("RGB")).astype(int)
    assert pixels.shape == (1600, 1200, 3)
    colored = np.ptp(pixels, axis=-1) > 60  # the maps; text is gray
    assert colored.mean() > 0.02
    rows = np.flatnonzero(pixels.min((1, 2)) < 200)
    assert rows[0] < 100 and rows[-1] > 900  # from the title to the plots
