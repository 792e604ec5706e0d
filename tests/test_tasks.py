"""That the whole road is open to a task that only the tests have, and that no room but its own names a task."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from killing import killed_at, save_each_step

from keras_cnns import data, evaluation, export, recipes, saving, tasks, training
from keras_cnns.errors import ArgumentError
from tests import mean_color

ROOT = Path(__file__).parent.parent
RECIPE = recipes.Recipe("plain", learning_rate=0.02, batch_size=8, epochs=3, precision="float32")


@pytest.fixture(autouse=True)
def mean_color_is_a_task(monkeypatch):
    task = mean_color.MeanColor()
    monkeypatch.setitem(tasks.TASKS, task.name, task)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "color"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tasks.TASKS, "mean color", mean_color.MeanColor())
        info = training.train(mean_color.Net, mean_color.source(), RECIPE, folder, quiet=True)
    return folder, info


def test_it_learns_and_its_record_says_what(trained):
    folder, info = trained
    assert info.task == "mean color" and saving.read_info(folder / "model.keras") == info
    untrained = mean_color.Net()
    test = mean_color.source().split("test")
    before = evaluation.evaluate(untrained, test, info.preprocessing, info.class_names)
    after = info.metrics["test"]
    assert after["error"] < 0.5 * before.error and after["examples"] == 20
    log = np.genfromtxt(folder / "log.csv", delimiter=",", names=True)
    # The smallest error is the best one
    assert saving.read_info(folder / "best.keras").metrics["validation"]["error"] == pytest.approx(log["val_mae"].min())


def test_it_is_evaluated_exactly(trained):
    folder, info = trained
    model, info = saving.load_with_info(folder / "model.keras")
    split = mean_color.source().split("test")
    outputs = model.predict(info.preprocessing.normalize(split.items.astype("float32")), verbose=0)
    expected = float(np.abs(outputs - split.items.mean((1, 2)) / 255).mean())
    result = evaluation.evaluate(model, split, info.preprocessing, info.class_names, batch_size=7)
    assert (result.examples, result.error) == (20, pytest.approx(expected, rel=1e-5))
    # Two models are averaged, in batches of another size
    both = evaluation.evaluate([model, model], split, info.preprocessing, info.class_names)
    assert both.error == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_very_same_weights(tmp_path, monkeypatch):
    save_each_step(monkeypatch)
    arguments = (mean_color.Net, mean_color.source(), RECIPE)
    training.train(*arguments, tmp_path / "whole", quiet=True)
    with killed_at(14, monkeypatch):
        training.train(*arguments, tmp_path / "killed", quiet=True)
    training.train(*arguments, tmp_path / "killed", resume=True, quiet=True)
    whole, resumed = (saving.load_model(tmp_path / run / "model.keras").get_weights() for run in ("whole", "killed"))
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_two_devices_train_as_one_does(tmp_path):
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from keras_cnns import recipes, saving, tasks, training
from tests import mean_color
tasks.TASKS["mean color"] = mean_color.MeanColor()
recipe = recipes.Recipe("plain", optimizer="sgd", learning_rate=0.05, batch_size=8, epochs=2, precision="float32")
for devices in (1, 2):
    training.train(
        mean_color.Net, mean_color.source(), recipe, f"{{sys.argv[1]}}/{{devices}}",
        distribution=training.distribution(devices), quiet=True,
    )
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one, two = (saving.load_model(tmp_path / devices / "model.keras").get_weights() for devices in "12")
    for mine, other in zip(one, two, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-6)
    logs = [np.genfromtxt(tmp_path / devices / "log.csv", delimiter=",", names=True) for devices in "12"]
    np.testing.assert_allclose(logs[0]["val_mae"], logs[1]["val_mae"], rtol=1e-5)
    records = [saving.read_info(tmp_path / devices / "best.keras").metrics["validation"] for devices in "12"]
    assert records[0]["error"] == pytest.approx(records[1]["error"], rel=1e-5)


@pytest.mark.parametrize("format", ["tflite", pytest.param("onnx", marks=pytest.mark.slow)])
def test_its_exports_are_proven(trained, tmp_path, format):
    folder, _ = trained
    images = mean_color.source().split("test").items
    labels, names = np.arange(20) % 3, ("red", "green", "blue")
    np.savez(tmp_path / "noise.npz", x_train=images, x_test=images, y_train=labels, y_test=labels, class_names=names)
    options = export.Options(verify_data=str(tmp_path / "noise.npz"))
    report = export.export_model(folder / "model.keras", tmp_path / "exports", format, options)
    (artifact,) = report.artifacts
    assert artifact.parity.max_difference < 1e-5 and artifact.parity.examples == 20
    assert report.accuracy is None and artifact.parity.classes == 0
    # Three numbers with names are no scores of three classes: no softmax is added
    assert list(artifact.outputs) == ["output"]


def test_targets_that_cannot_follow_an_augmentation_are_refused():
    split = mean_color.source().split("train")
    with pytest.raises(ArgumentError, match=r"may change the mean color .* Received: augmentation=Augment\("):
        data.make_dataset(split, data.Preprocessing((8, 8)), 8, augmentation="pad-crop-flip")


def test_targets_follow_their_images(tmp_path):
    split = mean_color.source().split("train")
    preprocessing, colors = data.Preprocessing((8, 8)), split.items.mean((1, 2)) / 255

    def check(images, targets):
        np.testing.assert_allclose(images.mean((1, 2)) / 255, targets, atol=1e-6)

    for options in ({}, {"cache": tmp_path}, {"cache": tmp_path}):  # The last one reads what the second one wrote
        images, targets = data.make_dataset(
            split, preprocessing, 80, normalize=False, shuffle=True, **options
        ).get_single_element()
        check(images.numpy().astype("float64"), targets.numpy())
        assert not np.array_equal(targets, colors.astype("float32"))
    kept, drawn = split.divide(0.25, seed=0)
    assert (kept.examples, drawn.examples) == (60, 20)
    for part in (kept, drawn, kept.joined([drawn]), *split.partition((0.5, 0.5), 0), split.sample(7)):
        assert part.target == split.target and part.labels is None
        check(part.items.astype("float64"), part.targets)
    assert len({part.identity() for part in (split, kept, drawn)}) == 3


def test_what_needs_classes_says_so():
    split = mean_color.source().split("train")
    with pytest.raises(ArgumentError, match="do not have one class each"):
        data.class_weights(split)
    with pytest.raises(ArgumentError, match="their labels are known"):
        data.repeat_scarce(split)
    with pytest.raises(ArgumentError, match="have no classes that could be numbered anew"):
        split.named(("red", "green", "blue")).with_classes(("blue", "green", "red"))


def test_another_task_is_not_taken_for_granted():
    with pytest.raises(ArgumentError, match="there is no such task. Did you mean 'mean color'"):
        tasks.find_task("mean colour")
    with pytest.raises(ArgumentError, match="a color has three numbers"):
        training.train(
            lambda classes, input_shape: mean_color.Net(4, input_shape),
            mean_color.source(),
            RECIPE,
            "never",
            quiet=True,
        )

    class Unknown(mean_color.Colors):
        pass

    with pytest.raises(ArgumentError, match="no task has such targets"):
        tasks.task_for(Unknown())


def test_files_of_classifiers_say_nothing_of_their_task(tmp_path):
    info = saving.ModelInfo(class_names=("cat", "dog"))
    assert "task" not in info.to_json() and tasks.task_of(info) is tasks.task_of(None)
    assert saving.ModelInfo.from_json(json.loads(json.dumps(info.to_json()))) == info
    with pytest.raises(ValueError, match="its task is no name"):
        saving.ModelInfo.from_json({**info.to_json(), "task": 3})


def named_in(path):
    """Return the words of all names and texts in a file, except its docstrings."""
    tree = ast.parse(path.read_text("utf8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value
        for field in ("id", "attr", "name", "arg", "module", "asname"):
            if isinstance(name := getattr(node, field, None), str):
                yield name


@pytest.mark.parametrize("part", ["keras_cnns", "cli"])
def test_only_the_room_of_tasks_names_a_task(part):
    """Elsewhere `if task == ...` could creep in."""
    known = re.compile("classification|segmentation|detection", re.IGNORECASE)
    rooms = ("keras_cnns/tasks/", "keras_cnns/recipes/", "keras_cnns/applications/_facts.py")
    # Names of folders of PASCAL VOC, a field of COCO files, and a feature of a dataset: the data of others
    record = "Detections"  # what is found in an image; it decides nothing
    foreign = {
        "keras_cnns/data/mask_sources.py": {"SegmentationClass", "Segmentation"},
        "keras_cnns/data/coco.py": {"segmentation"},
        "keras_cnns/data/_tfds_masks.py": {"segmentation_mask"},
    }
    found = {
        f"{path.relative_to(ROOT)}: {word}"
        for path in (ROOT / part).rglob("*.py")
        if not path.relative_to(ROOT).as_posix().startswith(rooms)
        for word in named_in(path)
        if known.search(word) and word != record and word not in foreign.get(path.relative_to(ROOT).as_posix(), ())
    }
    assert found == set()
