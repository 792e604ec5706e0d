"""Class names are sorted, and matched by name, never by position."""

import json

import keras
import numpy as np
import pytest
from conftest import one_sentence
from PIL import Image

from keras_cnns import saving
from keras_cnns.data import Preprocessing, Source, open_source, repeat_scarce, split_source
from keras_cnns.data.classes import match_classes, sort_classes
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError
from keras_cnns.export.sample_images import choose_images


def test_whole_numbers_are_sorted_by_number():
    assert sort_classes(["10", "9", "1", "0"]) == ["0", "1", "9", "10"]
    assert sort_classes(["010", "09", "1"]) == ["1", "09", "010"]
    assert sort_classes(["10", "9", "1a"]) == ["10", "1a", "9"]


@pytest.mark.parametrize(
    "names, wanted, ids, places",
    [
        ("abc", "abc", (), [0, 1, 2]),
        ("cab", "abc", (), [2, 0, 1]),
        ("ca", "abc", (), [2, 0]),
        (["0", "1", "2", "10"], ["0", "1", "10", "2"], (), [0, 1, 3, 2]),
        (["00", "01", "10"], ["0", "1", "10"], (), [0, 1, 2]),
        (["n2", "n1"], ["cat", "dog"], ("n1", "n2"), [1, 0]),
        (["n2"], ["cat", "cat"], ("n1", "n2"), [1]),  # two of ImageNet's classes have the name crane
        (["dog"], ["cat", "cat", "dog"], (), [2]),
    ],
)
def test_classes_are_matched_by_name(names, wanted, ids, places):
    assert match_classes(names, wanted, ids).tolist() == places


@pytest.mark.parametrize(
    "names, wanted, message",
    [
        ("abd", "abc", "it does not know d. Use a source .*Received: source='s' with the classes a, b, d"),
        (("0", "1"), "ab", "it does not know 0, 1. Its labels are numbers without names: store `class_names`"),
        (("1", "2"), ("0", "1"), "it does not know 2"),
        (["cat"], ["cat", "cat"], "with the classes cat"),
        (("1", "01"), ("1", "2"), "it does not know 01"),
    ],
)
def test_classes_without_a_counterpart_are_named(names, wanted, message):
    with pytest.raises(ArgumentError, match=message):
        match_classes(names, wanted, source="s")


def test_a_source_takes_the_classes_of_a_model():
    split = ArraySplit(np.zeros((4, 8, 8, 1), "uint8"), [0, 1, 1, -1])
    source = Source("s", ("b", "a"), (8, 8, 1), {"train": split})
    matched = source.with_classes(["a", "b", "c"])
    assert matched.class_names == ("a", "b", "c") and matched.split("train").labels.tolist() == [1, 0, 0, -1]
    assert matched.notes[""] == ("the source has 2 of the model's 3 classes; it lacks c",)
    assert source.split("train").labels.tolist() == [0, 1, 1, -1] and split.class_names is None
    assert matched.split("train").take([0, 2]).class_names == ("a", "b", "c")
    repeated = repeat_scarce(source.split("train").take([0, 1, 2])).with_classes("ab")
    assert repeated.labels.tolist() == [1, 0, 0, 1] and repeated.sample(3).labels.tolist() == [1, 0, 0]
    assert [int(label) for _, label in repeated.elements()] == [1, 0, 0, 1]


@pytest.fixture
def numbered(tmp_path):
    """A folder of the classes 0 to 11, and an unnamed .npz file.

    Both hold the same images; the .npz file has no class names.
    """
    images, labels = [], []
    for label in range(12):
        for part, count in (("train", 3), ("test", 2)):
            (tmp_path / "numbered" / part / str(label)).mkdir(parents=True)
            for k in range(count):
                images.append(np.full((8, 8, 3), 20 * label + k, "uint8"))
                labels.append(label)
                Image.fromarray(images[-1]).save(tmp_path / "numbered" / part / str(label) / f"{k}.png")
    images, labels = np.stack(images), np.array(labels)
    np.savez(tmp_path / "numbered.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    return tmp_path


def test_numbered_folders_and_numbers_in_an_npz_file_mean_the_same(numbered):
    folder, npz = open_source(numbered / "numbered"), open_source(numbered / "numbered.npz")
    assert folder.class_names == npz.class_names == tuple(map(str, range(12)))
    as_text = tuple(sorted(folder.class_names))  # the order in older model files
    for source in (folder, npz):
        split = source.with_classes(as_text).split("train")
        if source is folder:
            values = [int(np.asarray(Image.open(path))[0, 0, 0]) // 20 for path in split.items]
        else:
            values = split.items[:, 0, 0, 0] // 20
        assert [int(as_text[label]) for label in split.labels] == list(values)


@pytest.mark.parametrize("in_order", [True, False], ids=["numbers", "text"])
def test_numbered_classes_have_the_same_accuracy_in_folder_and_npz_file(numbered, cli, in_order):
    """The network recognizes each class by its gray.

    Older model files have the classes in the order of text.
    """
    names = tuple(sorted(map(str, range(12)), key=int if in_order else None))
    gray = 20.0 * np.array([int(name) for name in names]) + 1
    pooled = keras.layers.GlobalAveragePooling2D()(x := keras.Input((8, 8, 3)))
    model = keras.Model(x, keras.layers.Dense(12, activation="softmax")(pooled))
    model.layers[-1].set_weights([np.tile(2 * gray / 3, (3, 1)), -(gray**2)])
    path, record = numbered / "model.keras", Preprocessing((8, 8), 3, scale=(1.0,))
    saving.save_model(model, path, saving.ModelInfo(names, record))
    for source, split in (("numbered", "test"), ("numbered", "all"), ("numbered.npz", "test")):
        code, out, err = cli("evaluate", path, "--data", numbered / source, "--split", split, "--json")
        assert code == 0 and json.loads(out)["top1"] == 1, err
        assert json.loads(out)["examples"] == {"test": 24, "all": 60}.get(split) or source == "numbered.npz"
        images = choose_images(record, None, str(numbered / source), class_names=names)
        grays = images.images[:, 0, 0, 0]
        assert [names[label] for label in images.labels] == [str(gray // 20) for gray in grays]
    words = saving.ModelInfo(tuple("abcdefghijkl"), record)
    saving.save_model(model, numbered / "words.keras", words)
    code, out, err = cli("evaluate", numbered / "words.keras", "--data", numbered / "numbered.npz")
    assert code == 2 and one_sentence(err, "labels are numbers without names: store `class_names` in the .npz file")
    code, out, err = cli("evaluate", numbered / "words.keras", path, "--data", numbered / "numbered")
    assert code == 2


def test_a_recorded_division_does_not_depend_on_the_order_of_the_classes(numbered):
    """Classes share remainders in the order of their names as text."""
    source = open_source(numbered / "numbered")
    shares = {"train": 0.5, "test": 0.5}
    old = source.with_classes(sorted(source.class_names))  # the order in older versions
    for name in shares:
        parts = [split_source(order, shares, 1).split(name).items.tolist() for order in (source, old)]
        assert sorted(parts[0]) == sorted(parts[1])
