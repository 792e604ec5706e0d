"""Broken images are left out of a source and named."""

import pytest

from keras_cnns.data import open_source, without_broken
from keras_cnns.errors import SourceError


@pytest.fixture
def damaged(folder_of_images):
    """A folder of 24 images; one is empty and one truncated."""
    (folder_of_images / "red" / "3.png").write_bytes(b"")
    whole = (folder_of_images / "blue" / "5.png").read_bytes()
    (folder_of_images / "blue" / "5.png").write_bytes(whole[: len(whole) // 2])
    return folder_of_images


def test_broken_images_are_left_out_and_named(damaged):
    source = open_source(damaged)
    readable, broken = without_broken(source)
    assert sorted(path.rsplit("/", 2)[-2:] for path in broken) == [["blue", "5.png"], ["red", "3.png"]]
    assert all(path in str(error) for path, error in broken.items())
    before, after = (sum(split.examples for split in opened.splits.values()) for opened in (source, readable))
    assert (before, after) == (24, 22) and readable.class_names == source.class_names
    for name, split in readable.splits.items():
        kept = set(split.items)
        assert kept == set(source.split(name).items) - set(broken)
        labels = dict(zip(source.split(name).items, source.split(name).labels, strict=True))
        assert [labels[path] for path in split.items] == split.labels.tolist()


def test_a_class_without_a_readable_image_is_an_error(damaged):
    for path in (damaged / "red").iterdir():
        path.write_bytes(b"")
    with pytest.raises(SourceError, match="no image of the class 'red' can be read"):
        without_broken(open_source(damaged))


def test_arrays_stay_as_they_are():
    source = open_source("digits")
    readable, broken = without_broken(source)
    assert not broken and readable.split("test") is source.split("test")


@pytest.mark.slow
def test_training_skips_broken_images_only_on_request(damaged, cli, tmp_path):
    command = ("train", "NiN", "--data", damaged, "--epochs", 1, "--input-size", 32, "--output", tmp_path / "run")
    code, _, err = cli(*command)
    assert code == 3 and "5.png" in err or "3.png" in err
    code, out, err = cli(*command, "--force", "--skip-broken", "--json")
    assert code in (0, 1) and "left out because they cannot be read: 2 images" in err and "left out: " in err
    if code == 0:
        import json

        assert json.loads(out)["data"]["skipped"] == 2
