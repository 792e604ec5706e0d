"""cnn-evaluate prints, writes and draws measures, and refuses bad input."""

import json

import keras
import numpy as np
import pytest
from conftest import one_sentence
from PIL import Image


def test_evaluate_measures_and_draws(cli, tmp_path):
    plot = tmp_path / "digits.png"
    code, out, err = cli("evaluate", "nin:digits", "--data", "digits", "--plot", plot, "--json")
    result = json.loads(out)
    assert code == 0 and result["examples"] == 360 and result["top1"] >= 0.99 and result["top5"] == 1.0
    assert np.array(result["confusion"]).sum() == 360 and set(result["per_class"]) == set("0123456789")
    assert Image.open(plot).size[0] > 800
    code, out, err = cli("evaluate", "nin:digits", "--data", "digits", "--plot", plot)
    assert code == 2 and out == "" and one_sentence(err, "the output exists", "--force")
    code, out, err = cli("evaluate", "nin:digits", "--data", "digits", "--split", "train", "--batch-size", 100)
    assert code == 0 and "1,437" in out and f"{'all':<5}" in out


@pytest.mark.parametrize(
    "arguments, code, parts",
    [
        (("--data", "digit"), 2, ["Did you mean 'digits'?"]),
        (("--data", "digits", "--split", "tset"), 2, ["it has train, test, all. Did you mean 'test'?"]),
        (("--data", "none.npz"), 2, ["there is no such file"]),
        (("--data", "tfds:mnist", "--data-dir", "."), 3, ["is not on disk", "tfds build mnist --data_dir ."]),
        ((), 2, []),
    ],
)
def test_evaluate_refuses_bad_sources(cli, arguments, code, parts):
    status, out, err = cli("evaluate", "nin:digits", *arguments)
    assert (status, out) == (code, "")
    one_sentence(err, *parts)


@pytest.mark.slow
def test_evaluate_follows_the_protocol(cli, tmp_path):
    arguments = ["nin:digits", "--data", "digits", "--json"]
    _, plain, _ = cli("evaluate", *arguments)
    code, out, _ = cli("evaluate", *arguments, "--protocol", "ten-crop", "--scales", "32", "--output", tmp_path / "out")
    plain, crops = json.loads(plain), json.loads(out)
    assert code == 0 and (crops["protocol"], crops["scales"], crops["examples"]) == ("ten-crop", [32], 360)
    assert crops["loss"] != plain["loss"]  # the ten crops include mirrored digits
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text("utf8")) == crops
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "confusion.png",
        "mistakes.png",
        "reliability.png",
    ]
    code, _, err = cli("evaluate", *arguments, "--output", tmp_path / "out")
    assert code == 2 and "--force" in err
    code, out, _ = cli("evaluate", *arguments, "--protocol", "recipe")
    assert code == 0 and json.loads(out)["loss"] == plain["loss"]


@pytest.mark.slow
def test_evaluate_averages_models_and_corrupts_images(cli, tmp_path):
    _, plain, _ = cli("evaluate", "nin:digits", "--data", "digits", "--json")
    code, out, _ = cli("evaluate", "nin:digits", "nin:digits", "--data", "digits", "--json")
    both = json.loads(out)
    assert code == 0 and both["models"] == ["nin:digits", "nin:digits"]
    assert both["loss"] == pytest.approx(json.loads(plain)["loss"])
    code, out, _ = cli("evaluate", "nin:digits", "--data", "digits", "--corruptions", "--output", tmp_path / "out")
    assert code == 0 and "severity 5" in out and (tmp_path / "out" / "robustness.png").exists()
    code, _, err = cli("evaluate", "nin:digits", "nin:digits", "--data", "digits", "--corruptions")
    assert code == 2 and "goes with one MODEL" in err


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["--protocol", "tencrop"], "'center', 'ten-crop', '144-crop', 'dense', 'mirror', 'multi-scale', 'recipe'"),
        (["--scales", "256,big"], "pixels with commas between"),
        (["--protocol", "dense", "--scales", "16"], "at least those of the network's input, 32"),
    ],
)
def test_evaluate_refuses_bad_protocols(cli, arguments, part):
    code, out, err = cli("evaluate", "nin:digits", "--data", "digits", *arguments)
    assert (code, out) == (2, "") and part in err


def test_evaluate_refuses_images_of_other_classes(cli, folder_of_images):
    code, out, err = cli("evaluate", "nin:digits", "--data", folder_of_images)
    assert code == 2 and one_sentence(err, "the classes of the images must be those of the model", "blue, red")


def test_evaluate_notes_that_a_model_has_no_record(cli, tmp_path):
    inputs = keras.Input((32, 32, 1))
    x = keras.layers.Dense(10)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, x).save(tmp_path / "plain.keras")
    code, out, err = cli("evaluate", tmp_path / "plain.keras", "--data", "digits")
    assert code == 0 and "carries no preprocessing record: it gets the pixels, 0 to 255" in err
    assert "does not name its classes; its outputs are taken for those of digits, in this order: 0, 1, 2" in err
