"""cnn-predict shows, prints and writes the classes of images."""

import csv
import json

import pytest
from conftest import one_sentence
from PIL import Image

from keras_cnns.data import open_source


@pytest.fixture
def digit_images(tmp_path):
    """Return six test digits as files of several kinds, and their labels."""
    test = open_source("digits").split("test")
    kinds = [("L", "a.png"), ("RGB", "b.jpg"), ("RGBA", "c.png"), ("L", "d.bmp"), ("RGB", "e.webp"), ("L", "f.tif")]
    for k, (mode, name) in enumerate(kinds):
        Image.fromarray(test.items[k, ..., 0]).convert(mode).resize((64, 64)).save(tmp_path / name)
    return [tmp_path / name for _, name in kinds], test.labels[:6].tolist()


def test_predict_shows_the_best_classes(cli, digit_images):
    paths, labels = digit_images
    code, out, err = cli("predict", "nin:digits", *paths, "--json")
    answers = json.loads(out)
    assert code == 0 and [answer["image"] for answer in answers] == [str(path) for path in paths]
    assert [int(answer["predictions"][0]["class"]) for answer in answers] == labels
    for answer in answers:
        shown = [prediction["probability"] for prediction in answer["predictions"]]
        assert len(shown) == 5 and shown == sorted(shown, reverse=True) and sum(shown) <= 1.0001
    code, out, err = cli(
        "predict", "LeNet5", paths[0], "--top", 2, "--wide"
    )  # only one set of weights ships with LeNet5
    lines = [line.split() for line in out.splitlines() if "%" in line]
    assert code == 0 and len(lines) == 2 and lines[0][0] == str(paths[0])


def test_predict_takes_the_images_of_a_folder(cli, digit_images, tmp_path):
    """Hidden files are skipped, other files named; CSV and JSON agree."""
    paths, labels = digit_images
    folder = tmp_path / "of digits"
    for name, path in (("b/2.png", 0), ("b/10.jpg", 1), ("a.PNG", 2), (".hidden/x.png", 3), (".y.png", 4)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(paths[path].read_bytes())
    (folder / "notes.txt").write_text("no image")
    table = tmp_path / "new" / "table.csv"
    arguments = ("nin:digits", folder, paths[5], "--top", 2)
    code, out, err = cli("predict", *arguments, "--csv", "--output", table)
    assert (code, out) == (0, "") and "left out 1 file of another kind (.txt), as " in err and "4 images" in err
    rows = list(csv.DictReader(table.read_text("utf8").splitlines()))
    expected = [folder / "a.PNG", folder / "b" / "10.jpg", folder / "b" / "2.png", paths[5]]
    assert [row["path"] for row in rows] == [str(path) for path in expected for _ in range(2)]
    assert [row["rank"] for row in rows] == ["1", "2"] * 4
    assert [int(row["class"]) for row in rows[::2]] == [labels[k] for k in (2, 1, 0, 5)]
    code, out, err = cli("predict", *arguments, "--csv")
    assert code == 0 and out == table.read_text("utf8")
    code, out, err = cli("predict", *arguments, "--json")
    answers = json.loads(out)
    assert [answer["image"] for answer in answers] == [str(path) for path in expected]
    probabilities = [prediction["probability"] for answer in answers for prediction in answer["predictions"]]
    assert probabilities == pytest.approx([float(row["probability"]) for row in rows])
    code, out, err = cli("predict", *arguments, "--csv", "--output", table)
    assert code == 2 and one_sentence(err, "the output exists", "--force")
    (folder / "b" / "3.png").write_bytes(b"no image")
    code, out, err = cli("predict", *arguments, "--csv")
    assert (code, out) == (3, "") and one_sentence(err, "3.png: is no ")
    code, out, err = cli("predict", *arguments, "--csv", "--skip-broken")
    assert code == 0 and out == table.read_text("utf8") and "left out: " in err and "3.png" in err


def test_predict_refuses_bad_options(cli, digit_images, tmp_path):
    paths, _ = digit_images
    (tmp_path / "empty").mkdir()
    for arguments, code, part in (
        ((paths[0], "--csv", "--json"), 2, "give one of them"),
        ((paths[0], "--output", "x.csv"), 2, "--output goes with --csv or --json"),
        ((tmp_path / "empty",), 3, "empty: holds no images. Add some"),
        ((tmp_path / "A.png",), 3, "No such file or folder. Did you mean 'a.png'?"),
        (("https://example.org/a.png",), 3, "Download the image"),
    ):
        status, out, err = cli("predict", "nin:digits", *arguments)
        assert (status, out) == (code, "") and one_sentence(err, part)
    status, out, err = cli("predict", paths[0], "nin:digits")
    assert (status, out) == (2, "") and one_sentence(err, "MODEL, which comes first, is a .keras file, not an image")


def test_predict_names_bad_images(cli, digit_images, tmp_path):
    paths, _ = digit_images
    Image.new("L", (1, 1)).save(tmp_path / "dot.png")
    code, out, err = cli("predict", "nin:digits", paths[0], tmp_path / "dot.png")
    assert code == 3 and out == "" and one_sentence(err, "dot.png: is only 1x1 pixels")
    paths[0].write_bytes(paths[0].read_bytes()[:60])
    code, out, err = cli("predict", "nin:digits", paths[0], "--json")
    assert code == 3 and out == "" and one_sentence(err, "a.png: cannot be read as an image")
    code, out, err = cli("predict", "nin:digits", tmp_path / "none.png")
    assert code == 3 and one_sentence(err, "none.png", "No such file")
    code, out, err = cli("predict", "nin:digits")
    assert code == 2 and "Missing argument 'IMAGE...'" in err
