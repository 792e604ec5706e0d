"""The training scripts run on a few images, and are short."""

import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from keras_cnns.saving import read_info

SCRIPTS = sorted(path for path in (ROOT / "scripts").glob("*.py") if path.name.startswith(("train_", "finetune_")))
RUNS = [
    ("finetune_folder",),
    *(("train_imagenet", name) for name in ("AlexNet", "VGG16", "GoogLeNet", "InceptionV3", "ResNet50")),
    *(
        ("train_small_images", name)
        for name in ("lenet5-mnist", "nin-cifar10", "nin-fashion_mnist", "resnet20-cifar10")
    ),
]  # train_nin_digits, which has no --smoke, is run in full below


def run(name, folder, *arguments):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / f"{name}.py", *arguments], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("arguments", RUNS, ids="-".join)
def test_scripts_train_on_random_images(arguments, tmp_path):
    script, *names = arguments
    last = run(script, tmp_path, *names, "--smoke").splitlines()[-1]
    assert "test images" in last and (tmp_path / "model.keras").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20-cifar10", "nin-cifar10"])
def test_images_can_be_kept_on_the_device(name, tmp_path):
    assert "test images" in run("train_small_images", tmp_path, name, "--smoke", "--on-device")


@pytest.mark.slow
def test_a_dataset_of_tensorflow_datasets_can_be_kept_on_the_device(tmp_path):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=(32, 32, 3)),
        "label": tfds.features.ClassLabel(names=["dark", "bright"]),
    }
    labels = np.arange(40) % 2
    arrays = {
        "image": np.full((40, 32, 32, 3), 200, "uint8") * labels[:, None, None, None].astype("uint8"),
        "label": labels,
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="shades",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={name: tf.data.Dataset.from_tensor_slices(arrays) for name in ("train", "test")},
        data_dir=tmp_path,
    )
    arguments = ("resnet20-cifar10", "tfds:shades", "--data-dir", tmp_path, "--epochs", "1", "--on-device")
    assert "of 40 test images" in run("train_small_images", tmp_path, *arguments)
    assert read_info(tmp_path / "model.keras").data == {"source": "tfds:shades"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_short_and_show_their_command(path):
    text = path.read_text("utf8")
    assert len(text.splitlines()) <= 60 and f"python scripts/{path.name}" in text


@pytest.mark.parametrize("script", ["train_imagenet", "train_small_images"])
def test_the_docstring_lists_every_run(script):
    module = runpy.run_path(str(ROOT / "scripts" / f"{script}.py"))
    listed = re.findall(r"^\| ([\w-]+) \|", module["__doc__"], re.MULTILINE)[1:]
    assert listed == list(module["RUNS"]) == [run[1] for run in RUNS if run[0] == script]


@pytest.mark.slow
def test_train_nin_digits_is_as_accurate_as_its_docstring_says(tmp_path):
    script = ROOT / "scripts" / "train_nin_digits.py"
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    share = float(re.search(r"([0-9.]+)% of 360 test images", done.stdout.splitlines()[-1])[1])
    assert share >= 98 and (tmp_path / "nin-digits.keras").is_file()
    assert re.search(r"Last line: [0-9.]+% of 360 test images", script.read_text("utf8"))
