"""The training scripts: each runs, on a few images, and is short enough to be read."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from keras_cnns.saving import read_info

SCRIPTS = sorted(path for path in (ROOT / "scripts").glob("*.py") if path.name.startswith(("train_", "finetune_")))


def run(name, folder, *arguments):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / f"{name}.py", *arguments], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [path.stem for path in SCRIPTS if path.stem != "train_nin_digits"],  # whose whole training is its own test
)
def test_it_runs(name, tmp_path):
    last = run(name, tmp_path, "--smoke").splitlines()[-1]
    assert "test images" in last and (tmp_path / "model.keras").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train_resnet20_cifar10", "train_nin_cifar10"])
def test_images_on_the_device(name, tmp_path):
    assert "test images" in run(name, tmp_path, "--smoke", "--on-device")


@pytest.mark.slow
def test_a_set_of_tensorflow_datasets_on_the_device(tmp_path):
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
    arguments = ("tfds:shades", "--data-dir", tmp_path, "--epochs", "1", "--on-device")
    assert "of 40 test images" in run("train_resnet20_cifar10", tmp_path, *arguments)
    assert read_info(tmp_path / "model.keras").data == {"source": "tfds:shades"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_is_short_and_says_how_it_is_called(path):
    text = path.read_text("utf8")
    assert len(text.splitlines()) <= 60 and f"python scripts/{path.name}" in text
