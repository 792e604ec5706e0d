"""Each kind of source, and one clear error for each fault."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from keras_cnns.data import Preprocessing, make_dataset, open_source
from keras_cnns.data.pipeline import reading
from keras_cnns.data.sources import _enlarged
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError, SourceError, SourceWarning


def arrays(**changes):
    """Return the members of an .npz file with changes; None removes one."""
    random = np.random.default_rng(0)
    members = {
        "x_train": random.integers(0, 256, (20, 8, 8), dtype="uint8"),
        "y_train": np.arange(20) % 4,
        "x_test": random.integers(0, 256, (8, 8, 8), dtype="uint8"),
        "y_test": np.arange(8) % 4,
        **changes,
    }
    return {key: value for key, value in members.items() if value is not None}


def npz(path, **changes):
    np.savez(path, **arrays(**changes))
    return path


def test_digits():
    source = open_source("digits")
    assert source.class_names == tuple("0123456789") and source.image_shape == (32, 32, 1)
    train, test = source.split("train"), source.split("test")
    assert (train.examples, test.examples) == (1437, 360)
    assert train.items.dtype == np.uint8 and train.items.min() == 0 and train.items.max() == 255
    shares = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    assert shares.min() > 0.18 and shares.max() < 0.22
    again = open_source("digits").split("test")
    np.testing.assert_array_equal(again.items, test.items)


def test_digits_are_the_same_pixels_on_every_processor():
    """They are those of TensorFlow's bicubic resize, except for rounding in float32."""
    import tensorflow as tf
    from sklearn.datasets import load_digits

    images = np.concatenate([split.items for split in open_source("digits").splits.values()])
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    assert digest == "6ed1263a38f554ef234c8e44a65ba8e2a7c75735da224f749b674ea2dec5a770"
    small = np.round(load_digits().images * (255 / 16)).astype("uint8")
    exact = np.clip(tf.image.resize(small[..., None], (32, 32), method="bicubic").numpy()[..., 0], 0, 255)
    assert np.abs(_enlarged(small) - exact).max() < 0.5 + 1e-3


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    source = open_source("digits")
    splits = source.splits.values()
    small = np.concatenate([split.items for split in splits]).reshape(-1, 8, 4, 8, 4).mean((2, 4))
    labels = np.concatenate([split.labels for split in splits])
    digits = load_digits()
    for k in (0, 700, 1796):
        distances = np.abs(small - digits.images[k] * (255 / 16)).mean((1, 2))
        best = distances.argmin()
        assert labels[best] == digits.target[k]
        assert np.corrcoef(small[best].ravel(), digits.images[k].ravel())[0, 1] > 0.97


def test_npz(tmp_path):
    source = open_source(npz(tmp_path / "a.npz"))
    assert source.class_names == ("0", "1", "2", "3") and source.image_shape == (8, 8, 1)
    assert source.split("test").examples == 8
    named = open_source(npz(tmp_path / "b.npz", class_names=np.array(["a", "b", "c", "d"])))
    assert named.class_names == ("a", "b", "c", "d")
    column = open_source(npz(tmp_path / "c.npz", y_train=(np.arange(20) % 4)[:, None]))
    assert column.split("train").labels.shape == (20,)
    floats = open_source(npz(tmp_path / "d.npz", x_train=arrays()["x_train"].astype("float32")))
    np.testing.assert_array_equal(floats.split("train").items, source.split("train").items)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"x_test": None}, "lacks x_test. It must hold x_train, y_train, x_test, y_test"),
        ({"y_train": np.array([{}] * 20, dtype=object)}, "holds pickled Python objects"),
        ({"x_train": np.zeros((20, 8))}, r"x_train must be .*Received: shape=\(20, 8\)"),
        ({"x_train": np.zeros((20, 8, 8, 2), "uint8")}, r"Received: shape=\(20, 8, 8, 2\)"),
        ({"x_train": np.zeros((0, 8, 8), "uint8"), "y_train": np.zeros(0, int)}, r"Received: shape=\(0, 8, 8, 1\)"),
        ({"x_test": np.zeros((8, 9, 8), "uint8")}, "Make them equal"),
        ({"x_train": np.full((20, 8, 8), np.nan)}, "x_train holds values that are not finite"),
        ({"x_train": np.random.default_rng(0).random((20, 8, 8))}, "Multiply images of 0 to 1 by 255"),
        ({"x_train": np.full((20, 8, 8), 300)}, "pixels from 0 to 255.*Divide 16-bit pixels.*by 257.*from 300 to 300"),
        ({"x_train": np.full((20, 8, 8), -1.0)}, r"Undo the normalization.*as \(x \+ 1\) \* 127.5"),
        ({"x_train": np.full((20, 8, 8), "a")}, "must hold numbers"),
        ({"y_train": np.arange(19) % 4}, r"whole number or class name per image, shape \(20,\)"),
        ({"y_train": np.arange(20) % 4 / 1}, "Convert them with .astype"),
        ({"y_test": np.array(["0", "1", "2", "3", "4", "x", "0", "0"])}, "not among the classes, .*Received: 4, x"),
        ({"y_train": np.eye(4)[np.arange(20) % 4]}, "Store the argmax of one-hot labels"),
        ({"y_test": np.array([0, 1, 2, 3, 4, 0, 0, 0])}, "y_test must lie between 0 and 3.*labels from 0 to 4"),
        ({"y_train": np.arange(20) % 4 - 1}, "labels from -1 to 2"),
        ({"y_train": np.zeros(20, int), "y_test": np.zeros(8, int)}, "has one class only"),
        ({"y_train": np.arange(20) % 4 * 100000}, "y_train has no image of class '1' and 299996 more"),
        ({"y_train": np.ones(20, int), "y_test": np.ones(8, int)}, "no image of class '0'"),
        ({"class_names": np.array([["a"]])}, "class_names must be a list of strings"),
        ({"class_names": np.array(["a", "b", "b", "c"])}, "class_names must differ from each other"),
    ],
)
def test_errors_about_npz_files(tmp_path, changes, message):
    with pytest.raises(SourceError, match=message) as caught:
        open_source(npz(tmp_path / "wrong.npz", **changes))
    assert "wrong.npz" in str(caught.value) and "\n" not in str(caught.value)


def test_labels_of_an_npz_file_may_be_names(tmp_path):
    names = np.array(["dog", "cat", "10", "9"])
    source = open_source(npz(tmp_path / "a.npz", y_train=names[np.arange(20) % 4], y_test=names[np.arange(8) % 2]))
    assert source.class_names == ("10", "9", "cat", "dog")
    assert source.split("train").labels[:4].tolist() == [3, 2, 0, 1]
    assert source.notes == {"test": ("test has no image of 10, 9",)}
    changes = {"class_names": names, "y_train": names[np.arange(20) % 4].astype("S"), "y_test": np.arange(8) % 4}
    named = open_source(npz(tmp_path / "b.npz", **changes))
    assert named.class_names == tuple(names) and named.split("train").labels[:4].tolist() == [0, 1, 2, 3]


def test_the_split_all_is_every_image(folder_of_images):
    source = open_source(folder_of_images)
    assert source.split("all").examples == 24 and source.split("all").class_names == ("blue", "red")
    assert set(source.split("all").items) == {*source.split("train").items, *source.split("test").items}


@pytest.mark.parametrize("size", [0, 10, 500])
def test_damaged_npz_files(tmp_path, size):
    path = npz(tmp_path / "a.npz")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(SourceError, match="a.npz: is damaged or no .npz file"):
        open_source(path)


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7, 0.9])
def test_compressed_npz_files_with_a_flipped_byte(tmp_path, place):
    np.savez_compressed(tmp_path / "a.npz", **arrays())
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[int(place * len(content))] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(SourceError, match="a.npz: "):
        open_source(tmp_path / "a.npz")


def test_a_name_that_the_system_cannot_take():
    with pytest.raises((SourceError, ArgumentError)):
        open_source("x" * 300)


def test_a_folder_of_classes(folder_of_images):
    source = open_source(folder_of_images)
    assert source.class_names == ("blue", "red") and source.image_shape == (None, None, 3)
    train, test = source.split("train"), source.split("test")
    assert (train.examples, test.examples) == (20, 4) and set(test.labels) == {0, 1}
    assert not set(train.items) & set(test.items)
    images, labels = next(iter(make_dataset(train, Preprocessing((16, 16)), 32, normalize=False)))
    for image, label in zip(images.numpy(), labels.numpy(), strict=True):
        assert image.mean((0, 1)).argmax() == (2, 0)[label]


def test_a_folder_with_splits(folder_of_images, tmp_path):
    for part in ("train", "test"):
        (tmp_path / "parts").mkdir(exist_ok=True)
        import shutil

        shutil.copytree(folder_of_images, tmp_path / "parts" / part)
    (tmp_path / "parts" / "train" / "notes.txt").write_text("not a class")
    source = open_source(tmp_path / "parts")
    assert {name: split.examples for name, split in source.splits.items()} == {"train": 24, "test": 24}
    shutil.copytree(folder_of_images, tmp_path / "parts" / "val")
    assert open_source(tmp_path / "parts").split("validation").examples == 24
    shutil.rmtree(tmp_path / "parts" / "val")
    with pytest.raises(ArgumentError, match="has no such split; it has train, test, all. Did you mean 'test'"):
        source.split("tests")
    (tmp_path / "parts" / "test" / "red").rename(tmp_path / "parts" / "test" / "rot")
    with pytest.raises(SourceError, match="test: has class folders that .*train lacks: rot"):
        open_source(tmp_path / "parts")


def test_errors_about_folders(folder_of_images, tmp_path):
    (folder_of_images / "green").mkdir()
    with pytest.raises(SourceError, match="green: has no images. Add"):
        open_source(folder_of_images)
    (tmp_path / "one" / "only").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "only" / "a.png")
    with pytest.raises(SourceError, match="has one class only, 'only'"):
        open_source(tmp_path / "one")
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "flat" / "a.png")
    with pytest.raises(SourceError, match="flat: has no folders in it"):
        open_source(tmp_path / "flat")
    (folder_of_images / "green" / "a.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"needs two images of each, and this class has one: 'green' \(.*/green\)"):
        open_source(folder_of_images)


def test_a_folder_may_hold_other_files(folder_of_images, tmp_path):
    """Hidden files, notes and inner folders are ignored, and links are followed.

    Names may be in any script.
    """
    red = folder_of_images / "red"
    (red / "._0.png").write_bytes(b"resource fork")
    (red / "notes.txt").write_text("notes")
    (red / "more.png").mkdir()
    (folder_of_images / ".cache").mkdir()
    (folder_of_images / "README").write_text("not a class")
    (red / "link.png").symlink_to(folder_of_images / "blue" / "0.png")
    outside = tmp_path / "outside"
    outside.mkdir()
    Image.new("RGB", (8, 8)).save(outside / "A.PNG")
    Image.new("RGB", (8, 8)).save(outside / "b.jpeg")
    (folder_of_images / "grün 花").symlink_to(outside)
    with pytest.warns(SourceWarning, match=r"1 file of another kind \(.txt\), as .*red/notes.txt"):
        source = open_source(folder_of_images)
    assert source.class_names == ("blue", "grün 花", "red")
    files = [file for split in source.splits.values() for file in split.items]
    assert len(files) == 12 + 13 + 2 and all(isinstance(file, str) for file in files)
    assert str(red / "link.png") in files and str(folder_of_images / "grün 花" / "A.PNG") in files


def test_an_accent_in_two_unicode_forms_is_one_class(tmp_path):
    for part, name in (("train", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"), ("test", "cafe\N{COMBINING ACUTE ACCENT}")):
        for folder in (name, "cafz"):
            (tmp_path / part / folder).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / part / folder / "a.png")
    assert open_source(tmp_path).class_names == ("cafz", "caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    (tmp_path / "train" / "cafe\N{COMBINING ACUTE ACCENT}").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "train" / "cafe\N{COMBINING ACUTE ACCENT}" / "a.png")
    with pytest.raises(SourceError, match="another class folder has the same name"):
        open_source(tmp_path)


def test_a_class_with_images_only_in_inner_folders_is_an_error(folder_of_images):
    deeper = folder_of_images / "green" / "part 1"
    deeper.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(deeper / "a.png")
    with pytest.raises(SourceError, match="green: has no images that can be read, but 1 file in folders"):
        open_source(folder_of_images)


def test_listing_a_folder_reads_only_names(tmp_path, monkeypatch):
    """No file of 2,000 is opened or asked for its size."""
    import os

    for name in ("a", "b"):
        (tmp_path / "many" / name).mkdir(parents=True)
        for k in range(1000):
            os.close(os.open(tmp_path / "many" / name / f"{k}.jpg", os.O_CREAT))
    asked = []
    real = os.stat
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda path, *more, **options: asked.append(path) or real(path, *more, **options))
        patched.setattr("builtins.open", lambda *arguments, **options: pytest.fail("a file was opened"))
        source = open_source(tmp_path / "many")
    assert sum(split.examples for split in source.splits.values()) == 2000
    assert len(asked) < 20


def test_a_folder_that_changes_while_it_is_read(folder_of_images):
    source = open_source(folder_of_images)
    train = source.split("train")
    Image.new("RGB", (8, 8)).save(folder_of_images / "red" / "late.png")
    count = sum(len(labels) for _, labels in make_dataset(train, Preprocessing((8, 8)), 4))
    assert count == train.examples == 20
    (folder_of_images / "red" / "nowhere.png").symlink_to(folder_of_images / "gone.png")
    listed = [str(item) for split in open_source(folder_of_images).splits.values() for item in split.items]
    assert str(folder_of_images / "red" / "nowhere.png") in listed  # so that the error of reading it names it
    gone = train.items[-1]
    (folder_of_images / gone).unlink()
    with pytest.raises(SourceError, match=f"{gone}: cannot be read.*No such file"), reading(train):
        for _ in make_dataset(train, Preprocessing((8, 8)), 4):
            pass
    (folder_of_images / "red").rename(folder_of_images.parent / "red")
    with pytest.raises(SourceError, match="cannot be read.*No such file"), reading(train):
        for _ in make_dataset(train, Preprocessing((8, 8)), 4):
            pass


def test_arrays_cannot_hold_images_of_different_sizes(tmp_path):
    mixed = np.empty(2, dtype=object)
    mixed[:] = [np.zeros((8, 8, 3), "uint8"), np.zeros((9, 8, 3), "uint8")]
    with pytest.raises(ArgumentError, match="images of different sizes belong into a folder.*shape="):
        ArraySplit(mixed, [0, 1])
    with pytest.raises(ArgumentError, match="images of different sizes belong into a folder.*dtype=list"):
        ArraySplit([np.zeros((8, 8, 3), "uint8")], [0])
    with pytest.raises(ArgumentError, match=r"one whole number for each of 2 images.*shape=\(3,\)"):
        ArraySplit(np.zeros((2, 8, 8, 3), "uint8"), [0, 1, 2])
    with pytest.raises(SourceError, match="different sizes.*put images of different sizes into a folder"):
        open_source(npz(tmp_path / "mixed.npz", x_train=np.resize(mixed, 20)))


def test_a_name_that_is_not_utf8_is_an_error(folder_of_images):
    import os

    os.rename(folder_of_images / "red" / "3.png", os.fsencode(folder_of_images / "red") + b"/caf\xe9.png")
    with pytest.raises(SourceError, match="the name is not UTF-8"):
        open_source(folder_of_images)


def test_an_unreadable_image_is_named(folder_of_images):
    bad = folder_of_images / "red" / "3.png"
    bad.write_bytes(bad.read_bytes()[:100])
    source = open_source(folder_of_images)
    with pytest.raises(SourceError, match=r"red/3.png: cannot be read as an image"):
        for split in source.splits.values():
            with reading(split):
                for _ in make_dataset(split, Preprocessing((8, 8)), 4):
                    pass


@pytest.mark.parametrize(
    "name, message",
    [
        ("digit", "Did you mean 'digits'.*Received: source='digit'"),
        ("no/such/folder", "a source of images is"),
        ("missing.npz", "there is no such file"),
        ("", "needs a name, as 'digits'"),
        ("tfds:mnist/zzz", "cannot open it|has no dataset"),
        ("tfds:", "'tfds:' must be followed by a dataset's name"),
        ("tfds:../x", "'tfds:' must be followed by a dataset's name"),
        ("tfds:cifar1O", "no dataset of that name. Did you mean 'cifar10'"),
    ],
)
def test_misspelt_sources(name, message):
    with pytest.raises(ArgumentError, match=message):
        open_source(name)
