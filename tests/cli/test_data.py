"""cnn-data prints a summary, draws a preview, and has its exit codes."""

import json

import numpy as np
import pytest
from conftest import one_sentence
from PIL import Image

from keras_cnns.data import open_source, summarize


def test_a_summary_of_digits(cli):
    code, out, err = cli("data", "digits")
    assert code == 0 and not err
    assert out.startswith("digits: 10 classes\ntrain: 1,437 images\ntest: 360 images\n")
    assert "smallest 32x32" in out and "modes: L 1,797" in out and "mean 78.8; deviation 89.2" in out
    rows = [line.split() for line in out.splitlines() if line.startswith("  ") and line.strip()]
    assert rows[:3] == [["class", "train", "test"], ["0", "142", "36"], ["1", "146", "36"]]
    assert "warning" not in out and "examined" not in out


def test_json_is_the_summary(cli, folder_of_images):
    code, out, _ = cli("data", folder_of_images, "--json")
    assert code == 0 and json.loads(out) == json.loads(json.dumps(summarize(open_source(folder_of_images)).to_json()))


def test_warnings_do_not_fail(cli, folder_of_images):
    Image.new("L", (40, 40), 9).save(folder_of_images / "red" / "gray.png")
    code, out, _ = cli("data", folder_of_images)
    warnings = [line for line in out.splitlines() if line.startswith("warning: ")]
    assert code == 0 and len(warnings) == 2
    assert f"1 gray image among color ones: {folder_of_images / 'red' / 'gray.png'}" in warnings[0]
    assert "a side of less than 32 pixels" in warnings[1]


def test_skipped_files_are_named_on_stderr_and_in_the_summary(cli, folder_of_images):
    deeper = folder_of_images / "red" / "more"
    deeper.mkdir()
    for k in range(3):
        Image.new("RGB", (40, 40), "red").save(deeper / f"{k}.png")
    text = f"3 files in folders inside a class folder, as {deeper / '0.png'}"
    code, out, err = cli("data", folder_of_images)
    assert code == 0 and err.splitlines() == [f"{folder_of_images}: left out {text}"]
    assert f"left out: {text}\n" in out and "note: the test split is 20% of each class" in out
    code, out, _ = cli("data", folder_of_images, "--json")
    assert [len(skipped["paths"]) for skipped in json.loads(out)["skipped"]] == [3]


def test_unreadable_images_fail(cli, folder_of_images, tmp_path):
    bad = folder_of_images / "red" / "3.png"
    bad.write_bytes(bad.read_bytes()[:100])
    preview = tmp_path / "preview.png"
    code, out, err = cli("data", folder_of_images, "--preview", preview, "--input-size", "16")
    assert code == 1 and one_sentence(err, "1 of the images examined cannot be read")
    assert f"error: 1 image cannot be read, the first: {bad}" in out and "  red" in out
    assert preview.is_file()  # it shows the other images
    code, out, _ = cli("data", folder_of_images, "--json")
    (finding,) = (finding for finding in json.loads(out)["findings"] if finding["kind"] == "unreadable")
    assert code == 1 and finding["names"] == [str(bad)]


def test_a_summary_says_if_it_is_of_a_sample(cli, folder_of_images, monkeypatch):
    from keras_cnns.data import summary

    monkeypatch.setattr(summary, "SAMPLE", 5)
    code, out, _ = cli("data", folder_of_images)
    assert code == 0 and "of the images examined: 5 of train, 4 of test; --all examines all" in out
    code, out, _ = cli("data", folder_of_images, "--all")
    assert code == 0 and "examined" not in out


@pytest.mark.parametrize("augmentation", ["none", "distort"])
def test_a_preview_shows_augmented_images(cli, tmp_path, augmentation):
    path = tmp_path / "new" / "preview.png"
    code, _, _ = cli("data", "digits", "--preview", path, "--augmentation", augmentation)
    assert code == 0
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    assert min(pixels.shape) > 400 and 0.2 < (pixels < 40).mean() < 0.8 and (pixels > 250).mean() > 0.1
    cli("data", "digits", "--preview", path, "--augmentation", augmentation, "--seed", "1", "--force")
    with Image.open(path) as image:
        assert (np.asarray(image.convert("L")) != pixels).mean() > 0.05


def test_a_preview_needs_readable_images(cli, flowers, folder_of_images, tmp_path):
    code, _, _ = cli("data", flowers, "--preview", tmp_path / "f.png", "--augmentation", "inception-crop")
    with Image.open(tmp_path / "f.png") as image:
        colors = np.asarray(image.convert("RGB")).astype(int)
    assert code == 0 and (np.ptp(colors, axis=-1) > 60).mean() > 0.1
    for path in folder_of_images.rglob("*.png"):
        path.write_bytes(b"")
    code, out, err = cli("data", folder_of_images, "--preview", tmp_path / "none.png")
    assert code == 1 and "not written" in err and "24 of the images" in err and not (tmp_path / "none.png").exists()


def test_wrong_usage_is_exit_code_2(cli, tmp_path):
    taken = tmp_path / "taken.png"
    taken.write_bytes(b"mine")
    for arguments, part in (
        (["digit"], "Did you mean 'digits'"),
        (["digits", "--preview", taken], "--force"),
        (["digits", "--preview", tmp_path / "a.png", "--augmentation", "distrt"], "Did you mean 'distort'"),
        (["digits", "--augmentation", "distort"], "give --preview FILE.png too"),
        (["tfds:no_such_set", "--data-dir", tmp_path], "no dataset of that name"),
    ):
        code, out, err = cli("data", *arguments)
        assert code == 2 and not out and one_sentence(err, part)
    assert taken.read_bytes() == b"mine" and not (tmp_path / "a.png").exists()
    code, out, err = cli("data", "tfds:cifar10", "--data-dir", tmp_path)
    assert code == 3 and not out and one_sentence(err, "run: tfds build cifar10 --data_dir")


def test_boxes_are_counted_and_drawn(cli, tmp_path):
    code, out, err = cli("data", "shapes#boxes", "--preview", tmp_path / "boxes.png", "--augmentation", "flip")
    assert code == 0, err
    assert "train: 1,579 objects, up to 4 in an image, 157 images without any" in out
    assert "train, percentiles 10/50/90: side (root of the area) 17/25/35 pixels (18%/26%/37% of the image)" in out
    assert (tmp_path / "boxes.png").stat().st_size > 50_000
