"""A summary counts the contents of a source and finds each fault."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_cnns.data import Source, open_source, repeat_scarce, summarize
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError


def kinds(summary):
    return [finding.kind for finding in summary.findings]


def finding(summary, kind):
    (only,) = (finding for finding in summary.findings if finding.kind == kind)
    return only


def test_digits():
    source = open_source("digits")
    summary = summarize(source)
    train = source.split("train").items
    assert summary.examples == summary.examined == {"train": 1437, "test": 360}
    assert summary.counts["test"] == tuple(np.bincount(source.split("test").labels))
    np.testing.assert_allclose([*summary.mean, *summary.deviation], [train.mean(), train.std()])
    assert summary.modes == {"L": 1797} and set(summary.sizes.values()) == {(32, 32)} and not summary.findings
    assert json.loads(json.dumps(summary.to_json()))["counts"]["train"] == list(summary.counts["train"])


def test_statistics_do_not_change_with_the_test_split():
    source = open_source("digits")
    other = ArraySplit(255 - source.split("test").items, source.split("test").labels)
    changed = summarize(Source("digits", source.class_names, source.image_shape, {**source.splits, "test": other}))
    assert (changed.mean, changed.deviation) == (summarize(source).mean, summarize(source).deviation)
    fewer = Source("digits", source.class_names, source.image_shape, {"train": source.split("train").sample(700)})
    assert summarize(fewer).mean != changed.mean


def test_photographs(flowers):
    shown = []

    def progress(places, name):
        for k in places:
            shown.append((name, int(k)))
            yield k

    summary = summarize(open_source(flowers), progress=progress)
    assert summary.counts == {"train": (44,) * 5, "test": (16,) * 5} and summary.modes == {"RGB": 300}
    assert shown == [("train", k) for k in range(220)] + [("test", k) for k in range(80)]
    paths = list(flowers.rglob("*.jpg"))
    sizes = sorted(
        (size[::-1] for size in (Image.open(path).size for path in paths)), key=lambda size: size[0] * size[1]
    )
    assert summary.sizes["smallest"] == sizes[0] and summary.sizes["largest"] == sizes[-1]
    assert np.prod(summary.sizes["median"]) == np.prod(sizes[150])
    gray = finding(summary, "gray").names
    assert kinds(summary) == ["gray"] and len(gray) == 3
    for path in gray:
        channels = np.asarray(Image.open(path)).astype(int)
        assert np.ptp(channels, axis=-1).max() == 0
    moments = [np.asarray(Image.open(path)).reshape(-1, 3).mean(0) for path in paths if "/train/" in str(path)]
    np.testing.assert_allclose(summary.mean, np.mean(moments, axis=0), atol=0.5)


@pytest.fixture
def parts(tmp_path):
    """A folder of two classes with 12 training and 3 test images."""
    random = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 3)):
        for name in ("a", "b"):
            (tmp_path / "set" / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = random.integers(0, 256, (40 + k, 50, 3), dtype="uint8")
                Image.fromarray(pixels).save(tmp_path / "set" / part / name / f"{k:02}.png")
    return tmp_path / "set"


def test_a_source_without_faults(parts):
    summary = summarize(open_source(parts))
    assert not summary.findings and summary.sizes == {"smallest": (40, 50), "median": (44, 50), "largest": (51, 50)}


def test_unreadable_images_are_named_and_left_out(parts):
    before = summarize(open_source(parts)).mean
    broken = parts / "train" / "a" / "00.png", parts / "test" / "b" / "01.png", parts / "test" / "b" / "02.png"
    for path in broken[:2]:
        path.write_bytes(path.read_bytes()[:200])
    source = open_source(parts)
    broken[2].unlink()
    summary = summarize(source)
    assert kinds(summary)[0] == "unreadable" and summary.unreadable == tuple(map(str, broken))
    assert "3 images cannot be read, the first:" in finding(summary, "unreadable").text
    assert str(broken[0]) in finding(summary, "unreadable").text
    assert summary.examined["train"] == 24 and sum(summary.modes.values()) == 27
    assert summary.mean != before and np.isfinite(summary.mean).all()
    assert summary.findings[0].text.count("\n") == 0


def test_a_source_of_broken_images_alone(parts):
    for path in parts.rglob("*.png"):
        path.write_bytes(b"")
    summary = summarize(open_source(parts))
    assert len(summary.unreadable) == 30 and not summary.mean and not summary.sizes and not summary.modes


def test_the_same_image_in_two_splits(parts):
    copied = parts / "test" / "b" / "copy.png"
    copied.write_bytes((parts / "train" / "a" / "03.png").read_bytes())
    (parts / "train" / "a" / "again.png").write_bytes((parts / "train" / "a" / "04.png").read_bytes())
    found = finding(summarize(open_source(parts)), "duplicate")
    assert found.names == (f"{parts}/train/a/03.png = {copied}",) and "1 image in two splits, the first" in found.text
    images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype="uint8")
    splits = {"train": ArraySplit(images[:20], np.arange(20) % 2), "test": ArraySplit(images[19:], np.arange(11) % 2)}
    found = finding(summarize(Source("made", ("a", "b"), (32, 32, 3), splits)), "duplicate")
    assert found.names == ("train[19] = test[0]",)


def test_duplicates_under_two_labels_and_near_duplicates(parts):
    original = parts / "train" / "a" / "03.png"
    copied, smaller, darker = (parts / "train" / "b" / f"{name}.png" for name in ("copy", "smaller", "darker"))
    copied.write_bytes(original.read_bytes())
    noise = np.random.default_rng(9).integers(0, 256, (16, 16, 3), dtype="uint8")
    scene = Image.fromarray(noise).resize((200, 160))
    scene.save(parts / "train" / "a" / "scene.png")
    scene.resize((150, 120)).save(smaller)
    scene.save(parts / "test" / "a" / "scene.jpg", quality=60)
    scene.point(lambda value: value // 2).save(darker)
    Image.new("RGB", (40, 40), "red").save(parts / "train" / "a" / "plain.png")
    Image.new("RGB", (41, 40), "red").save(parts / "train" / "b" / "plain.png")  # plain images show nothing to compare
    summary = summarize(open_source(parts))
    assert finding(summary, "labels").names == (f"{original} (a) = {copied} (b)",)
    assert "1 image under two labels, the first: " in finding(summary, "labels").text
    near = finding(summary, "near").names
    scenes = [parts / "train" / "a" / "scene.png", smaller, parts / "test" / "a" / "scene.jpg"]
    first, second, third = (f"{path} ({path.parent.name})" for path in scenes)
    assert set(near) == {f"{first} = {second}", f"{first} = {third}", f"{second} = {third}"}


def test_jpegs_whose_decoder_complains_are_named(parts):
    path = parts / "train" / "a" / "damaged.jpg"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype="uint8")).save(path)
    whole = path.read_bytes()
    assert not summarize(open_source(parts)).findings
    path.write_bytes(whole[: len(whole) // 2] + whole[len(whole) // 2 + 500 :])
    found = finding(summarize(open_source(parts)), "damaged")
    assert found.names == (str(path),) and "1 JPEG damaged in the middle" in found.text and "Corrupt" in found.text


def test_gray_and_small_images_are_named(parts):
    gray = parts / "train" / "b" / "00.png"
    Image.open(gray).convert("L").save(gray)
    Image.new("RGB", (31, 64), "red").save(parts / "test" / "a" / "thin.png")
    summary = summarize(open_source(parts))
    assert finding(summary, "gray").names == (str(gray),) and summary.modes == {"RGB": 30, "L": 1}
    assert finding(summary, "small").names == (str(parts / "test" / "a" / "thin.png"),)


def test_all_gray_or_all_small_is_one_sentence(parts):
    for k, path in enumerate(sorted(parts.rglob("*.png"))):
        Image.fromarray(np.full((20, 20), k, "uint8")).save(path)
    (found,) = summarize(open_source(parts)).findings
    assert found.text == "all images have a side of less than 32 pixels" and not found.names


def test_scarce_and_missing_classes():
    counts = {"train": (400, 30, 9, 0), "test": (5, 5, 0, 5)}
    random = np.random.default_rng(0)
    splits = {
        name: ArraySplit(
            random.integers(0, 256, (sum(sizes), 32, 32, 1), dtype="uint8"), np.repeat(np.arange(4), sizes)
        )
        for name, sizes in counts.items()
    }
    summary = summarize(Source("made", ("a", "b", "c", "d"), (32, 32, 1), splits))
    assert summary.counts == counts
    assert [(finding.kind, finding.names) for finding in summary.findings] == [
        ("missing", ("d",)),
        ("missing", ("c",)),
        ("few", ("c",)),
        ("imbalance", ("a", "c")),
    ]
    assert "44 times as many training images of 'a' as of 'c'" in finding(summary, "imbalance").text


def test_repeats_are_not_summarized():
    train = repeat_scarce(ArraySplit(np.zeros((3, 32, 32, 1), "uint8"), [0, 0, 1]))
    with pytest.raises(ArgumentError, match="before some are repeated. Received: split=RepeatedSplit"):
        summarize(Source("made", ("a", "b"), (32, 32, 1), {"train": train}))


def test_a_sample_is_drawn_by_its_seed_and_reported(parts):
    source = open_source(parts)
    first, again, other = (summarize(source, sample=8, seed=seed) for seed in (0, 0, 1))
    assert first == again and first.mean != other.mean
    assert first.examined == {"train": 8, "test": 6} and first.counts["train"] == (12, 12)
    assert summarize(source, sample=None).examined == {"train": 24, "test": 6}
    for path in (parts / "train").rglob("*.png"):
        path.write_bytes((parts / "test" / "a" / "00.png").read_bytes())
    assert "among those examined" in finding(summarize(source, sample=8), "duplicate").text
