"""The commands, with a network that gives each pixel a class."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cnns import analysis, data, saving, tasks
from keras_cnns.data.masks import read_mask

NAMES = ("background", "disc", "triangle", "square")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network without training: bright pixels become discs, dark ones background."""
    inputs = keras.Input((64, 64, 3))
    scores = keras.layers.Conv2D(4, 1, name="score")
    network = keras.Model(inputs, keras.layers.Softmax(dtype="float32", name="predictions")(scores(inputs)))
    kernel = np.zeros((1, 1, 3, 4), "float32")
    kernel[..., 1] = 10
    scores.set_weights([kernel, np.array([0, -15, -50, -50], "float32")])
    path = tmp_path_factory.mktemp("models") / "bright.keras"
    info = saving.ModelInfo(NAMES, data.Preprocessing((64, 64)), task="segmentation", data={"source": "shapes"})
    saving.save_model(network, path, info)
    return path


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "half.png"
    pixels = np.zeros((90, 120, 3), "uint8")
    pixels[:, 60:] = 255
    Image.fromarray(pixels).save(path)
    return path


def test_masks_are_written_in_the_size_of_the_image(cli, model, image, tmp_path):
    code, out, err = cli("predict", model, image, image, "--output", tmp_path / "masks")
    mask = Image.open(tmp_path / "masks" / "half.png")
    assert mask.mode == "P" and mask.size == (120, 90)
    expected = np.repeat([[0] * 60 + [1] * 60], 90, axis=0)
    assert (np.asarray(mask) != expected).mean() < 0.02
    np.testing.assert_array_equal(np.asarray(mask), read_mask(tmp_path / "masks" / "half.png", 4, (90, 120)))
    over = np.asarray(Image.open(tmp_path / "masks" / "half_overlay.png"))
    assert over.shape == (90, 120, 3) and not over[:, :50].any() and np.ptp(over[:, 70:], axis=(0, 1)).max() == 0
    # A second image of the same name does not replace the first
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [
        *("half-2.png", "half-2_overlay.png", "half.png", "half_overlay.png")
    ]
    assert not code and "background" in out and "disc" in out and "2 masks" in err


def test_a_preprocessing_that_crops_is_refused(cli, model, image, tmp_path):
    """A mask of the middle must not be stretched over the whole image."""
    cropping = saving.ModelInfo(NAMES, data.Preprocessing((64, 64), shorter_side=72), task="segmentation")
    saving.save_model(saving.load_model(model), tmp_path / "crops.keras", cropping)
    code, _, err = cli("predict", tmp_path / "crops.keras", image)
    assert code and "use one with shorter_side=None" in err


def test_masks_are_not_overwritten_unasked(cli, model, image, tmp_path):
    assert cli("predict", model, image, "--output", tmp_path / "masks")[0] == 0
    code, _, err = cli("predict", model, image, "--output", tmp_path / "masks")
    assert code and "half.png" in err and "--force" in err


def test_the_shares_of_the_classes_are_json(cli, model, image):
    (found,) = json.loads(cli("predict", model, image, "--json")[1])
    assert [row["class"] for row in found["predictions"]] in (["background", "disc"], ["disc", "background"])
    assert sum(row["pixels"] for row in found["predictions"]) == pytest.approx(1)


def test_masks_are_evaluated(cli, model, tmp_path):
    options = ("--output", tmp_path / "out", "--plot", tmp_path / "plot.png")
    code, out, _ = cli("evaluate", model, "--data", "shapes", *options)
    assert not code and "mean IoU" in out and "409,600 pixels of 100 images" in out
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf8"))
    assert found["examples"] == 100 and found["iou"]["triangle"] == 0 and found["iou"]["background"] > 0.5
    assert (tmp_path / "out" / "confusion.png").exists()
    # The worst images are drawn in rows, like those of --plot
    assert len(found["worst"]) == 8 and Image.open(tmp_path / "out" / "mistakes.png").height > 600
    assert Image.open(tmp_path / "plot.png").height > 600


def test_images_of_files_are_drawn_with_their_masks(cli, model, tmp_path):
    random = np.random.default_rng(0)
    for split, count in {"train": 2, "test": 3}.items():
        for kind in ("images", "masks"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for k in range(count):
            pixels = random.integers(0, 256, (40 + k, 50, 3), dtype="uint8")
            Image.fromarray(pixels).save(tmp_path / "data" / split / "images" / f"{k}.png")
            mask = random.integers(0, 4, (40 + k, 50)).astype("uint8")
            Image.fromarray(mask).save(tmp_path / "data" / split / "masks" / f"{k}.png")
    (tmp_path / "data" / "classes.txt").write_text("\n".join(NAMES), "utf8")
    options = ("--output", tmp_path / "out", "--plot", tmp_path / "plot.png")
    code, _, err = cli("evaluate", model, "--data", tmp_path / "data", *options)
    assert not code, err
    for path in (tmp_path / "plot.png", tmp_path / "out" / "mistakes.png"):
        assert Image.open(path).height > 400
    worst = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf8"))["worst"]
    assert sorted(row["place"] for row in worst) == [0, 1, 2]
    images = tmp_path / "data" / "test" / "images"
    assert all(row["image"] == str(images / f"{row['place']}.png") for row in worst)


def test_a_crf_and_several_views_change_the_measurement(cli, model, image, tmp_path):
    heads = {}
    for options in (
        (),
        ("--protocol", "mirror"),
        ("--protocol", "multi-scale"),
        ("--crf", "color_std=30,iterations=2"),
    ):
        code, out, err = cli("evaluate", model, "--data", "shapes", "--json", *options)
        assert not code, err
        heads[options[1:]] = json.loads(out)
    assert heads[()]["mean_iou"] == pytest.approx(heads[("mirror",)]["mean_iou"], abs=1e-3)  # A symmetric network
    assert heads[()]["mean_iou"] != heads[("multi-scale",)]["mean_iou"]
    crf = heads[("color_std=30,iterations=2",)]
    assert crf["crf"]["color_std"] == 30 and crf["crf"]["position_std"] == 67
    assert crf["mean_iou"] != heads[()]["mean_iou"] and "crf" not in heads[()]
    assert not cli("predict", model, image, "--crf", "paper", "--output", tmp_path / "masks")[0]
    assert np.asarray(Image.open(tmp_path / "masks" / "half.png"))[:, [59, 60]].tolist() == [[0, 1]] * 90


def test_a_crf_that_cannot_be_is_named(cli, model, image):
    for text, words in (("sharp", "must be paper, or numbers"), ("color_std=0", "`color_std` must be positive")):
        code, _, err = cli("predict", model, image, "--crf", text)
        assert code == 2 and words in err
    code, _, err = cli("predict", "nin:digits", image, "--crf", "paper")
    assert code == 2 and "--crf goes with models that give each pixel a class" in err


def test_a_classifier_does_not_take_masks(cli, model, tmp_path):
    training = ("--epochs", 1, "--output", tmp_path / "never")
    for command, cure in (
        (("evaluate", "nin:digits", "--data", "shapes"), "classes of the images must be those of the model"),
        (("evaluate", model, "--data", "digits"), "classes of the images must be those of the model"),
        (("train", "LeNet5Modern", "--data", "shapes", *training), "or a network as FCN8s"),
        (("train", "FCN8s", "--backbone", "NiN", "--data", "digits", *training), "or a network of one class per image"),
    ):
        code, _, err = cli(*command)
        assert code == 2 and cure in " ".join(err.split()), err
    assert not (tmp_path / "never").exists()


def test_a_network_without_a_backbone_refuses_one(cli):
    code, _, err = cli("train", "NiN", "--backbone", "VGG16", "--data", "digits")
    assert code and "NiN stands on no other network; leave out --backbone" in err


def test_what_speaks_for_a_class_is_drawn(cli, model, tmp_path):
    """The score of an image is the mean of its pixels' scores, so that the map of evidence is that of the pixels."""
    shown = ("--data", "shapes", "--count", 3, "--output", tmp_path / "drawn", "--json")
    code, out, err = cli("visualize", model, *shown, "--what", "cam", "--what", "saliency", "--target", "disc")
    assert code == 0, err
    assert {drawing["what"] for drawing in json.loads(out)["drawings"]} == {"cam", "saliency"}
    network = saving.load_model(model)
    scores = tasks.find_task("segmentation").image_scores(network)
    image = np.random.default_rng(0).uniform(size=(1, 64, 64, 3)).astype("float32")
    (evidence,) = analysis.class_activation_map(scores, image, target=1).maps
    expected = network.get_layer("score")(image)[0, ..., 1]
    np.testing.assert_allclose(evidence - evidence.mean(), expected - np.mean(expected), atol=1e-3)
    np.testing.assert_allclose(scores.predict(image, verbose=0)[0, 1], np.mean(expected), rtol=1e-5)
    code, _, err = cli("visualize", model, *shown, "--what", "embedding", "--force")
    assert code and "needs images whose classes are known" in err
