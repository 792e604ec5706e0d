"""The road of networks that find objects."""

import json

import keras
import numpy as np
import pytest
from killing import killed_at, save_each_step
from PIL import Image

from keras_cnns import applications, data, evaluation, export, recipes, saving, tasks, training
from keras_cnns.errors import ArgumentError
from keras_cnns.tasks.boxes import Detections, iou
from keras_cnns.tasks.multibox_loss import MultiBoxLoss

RECIPE = recipes.BOXES.replace(name="plain", precision="float32", epochs=14, batch_size=16, learning_rate=3e-3)
NAMES = ("disc", "triangle", "square")


def Net(classes=3, input_shape=(64, 64, 3)):
    """Build a small detector with two maps."""
    from keras_cnns import layers

    x = inputs = keras.Input(input_shape)
    for number, channels in enumerate((16, 32, 48), 1):
        x = keras.layers.Conv2D(channels, 3, 2, "same", activation="relu", name=f"conv{number}")(x)
    maps = [x, keras.layers.Conv2D(64, 3, 2, "same", activation="relu", name="conv4")(x)]
    sizes = [tuple(each.shape[1:3]) for each in maps]
    ratios = [(2,), (2,)]
    rows = []
    for number, (each, (height, width)) in enumerate(zip(maps, sizes, strict=True)):
        y = keras.layers.Conv2D(4 * (5 + classes), 3, padding="same", name=f"head{number}")(each)
        rows.append(keras.layers.Reshape((height * width * 4, 5 + classes), name=f"rows{number}")(y))
    raw = keras.layers.Concatenate(axis=1, name="predictions", dtype="float32")(rows)
    boxes = layers.SSDBoxes(input_shape[:2], sizes, (10, 20), (20, 34), ratios, name="boxes")(raw)
    outputs = {"boxes": boxes, "predictions": raw, "scores": layers.ObjectScores(4, name="scores")(raw)}
    return keras.Model(inputs, outputs, name="net")


def scenes(train=320, validation=32, test=48, size=64, seed=0):
    drawn = data.make_scenes(train + validation + test, size, seed=seed, most=3)
    splits, start = {}, 0
    for name, count in {"train": train, "validation": validation, "test": test}.items():
        part = slice(start, start + count)
        splits[name] = data.ArraySplit(drawn.images[part], drawn.targets[part], data.Boxes(3))
        start += count
    return data.Source("scenes", NAMES, (size, size, 3), splits)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "scenes"
    return folder, training.train(Net, scenes(), RECIPE, folder, quiet=True)


def test_a_small_network_learns_to_find_shapes(trained):
    folder, info = trained
    assert info.task == "detection" and saving.read_info(folder / "model.keras") == info
    assert info.metrics["test"]["mean_ap50"] > 0.5 and info.metrics["test"]["objects"] > 40
    assert (folder / "curve.png").exists()
    log = np.genfromtxt(folder / "log.csv", delimiter=",", names=True)
    assert log["loss"][-1] < 0.5 * log["loss"][0]
    assert saving.read_info(folder / "best.keras").metrics["validation"]["loss"] == log["val_loss"].min()


def test_objects_are_found_where_they_are(trained, tmp_path):
    """At another size and aspect than the network's input, stretched and padded."""
    folder, info = trained
    model, split = saving.load_model(folder / "model.keras"), scenes().split("test")
    target = next(
        k for k, content in enumerate(split.targets) if len(data.box_target.from_bytes(content)["labels"]) == 3
    )
    pixels = split.items[target]
    Image.fromarray(pixels.repeat(3, 0).repeat(3, 1)).save(tmp_path / "large.png")
    wide = np.full((64, 128, 3), 40, "uint8")
    wide[:, 40:104] = pixels
    Image.fromarray(wide).save(tmp_path / "wide.png")
    (large,) = evaluation.predict_objects(model, [tmp_path / "large.png"], info.preprocessing, class_names=NAMES)
    truth = data.box_target.from_bytes(split.targets[target])["boxes"]
    best = large.above(0.2).boxes
    assert np.sort(iou(truth * 3, best).max(1))[-2] > 0.6
    padded = data.Preprocessing((64, 64), mean=info.preprocessing.mean, scale=info.preprocessing.scale, fit="pad")
    (found,) = evaluation.predict_objects(model, [tmp_path / "wide.png"], padded)
    assert found.boxes.min() >= 0 and found.boxes[:, 2].max() <= 64 and found.boxes[:, 3].max() <= 128


def test_the_measurement_equals_its_parts(trained):
    folder, info = trained
    model, split = saving.load_model(folder / "model.keras"), scenes().split("test")
    result = evaluation.evaluate(model, split, info.preprocessing, NAMES, batch_size=7)
    assert result.summary() == {**info.metrics["test"]}
    images = info.preprocessing.normalize(split.items.astype("float32"))
    outputs = model.predict(images, verbose=0)
    metric = tasks.BoxMetric(NAMES)
    for boxes, scores, content in zip(outputs["boxes"], outputs["scores"], split.targets, strict=True):
        found = tasks.boxes.best_detections(np.clip(boxes, 0, 64), scores)
        metric.update([found], [data.box_target.from_bytes(content)])
    assert metric.result().mean_ap == pytest.approx(result.mean_ap, abs=2e-3)


def test_shuffled_objects_cannot_be_found(trained):
    """A network that found objects elsewhere would find them here too."""
    folder, info = trained
    split = scenes().split("test")
    order = np.random.default_rng(0).permutation(split.examples)
    shuffled = data.ArraySplit(split.items, split.targets[order], data.Boxes(3))
    model = saving.load_model(folder / "model.keras")
    assert evaluation.evaluate(model, shuffled, info.preprocessing, NAMES).mean_ap50 < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_that_of_the_paper(seed):
    """A loop over images and default boxes."""
    random = np.random.default_rng(seed)
    wanted = np.zeros((4, 50, 5), "float32")
    for image, count in enumerate((0, 3, 20, 1)):
        places = random.permutation(50)[:count]
        wanted[image, places, :4] = random.normal(size=(count, 4)) * 2
        wanted[image, places, 4] = random.integers(1, 4, count)
    raw = random.normal(size=(4, 50, 8)).astype("float32") * 2
    for least in (0, 5):
        total = 0.0
        for rows, values in zip(wanted, raw, strict=True):
            exponents = np.exp(values[:, 4:].astype("float64"))
            entropy = -np.log(exponents / exponents.sum(1, keepdims=True))
            has_object = rows[:, 4] > 0
            for row, value, costs in zip(rows[has_object], values[has_object], entropy[has_object], strict=True):
                distance = np.abs(row[:4] - value[:4])
                total += np.where(distance < 1, distance**2 / 2, distance - 0.5).sum() + costs[int(row[4])]
            count = 3 * has_object.sum() if has_object.any() else least
            total += np.sort(entropy[~has_object, 0])[::-1][:count].sum()
        loss = MultiBoxLoss(min_negatives=least)
        assert float(loss(wanted, raw)) == pytest.approx(total / 24, rel=1e-5)
        again = keras.losses.deserialize(keras.losses.serialize(loss))
        assert float(again(wanted, raw)) == float(loss(wanted, raw))


def test_a_batch_without_objects_has_a_finite_loss():
    assert float(MultiBoxLoss()(np.zeros((2, 9, 5), "float32"), np.ones((2, 9, 8), "float32"))) == 0


def test_crowds_are_not_trained_on():
    model = Net()
    encode = tasks.find_task("detection").encoding(model, RECIPE).encode
    targets = {
        "boxes": np.array([[[0, 0, 20, 20], [30, 30, 50, 50]]], "float32"),
        "labels": np.array([[0, 1]]),
        "crowd": np.array([[False, True]]),
    }
    assert set(np.unique(encode(targets)["predictions"][..., 4])) == {0, 1}


@pytest.mark.parametrize(
    ("formats", "options"),
    [
        ("tflite", {}),
        pytest.param("saved_model", {}, marks=pytest.mark.slow),
        pytest.param("onnx", {}, marks=pytest.mark.slow),
    ],
)
def test_exports_give_boxes_and_scores(trained, tmp_path, formats, options):
    folder, _ = trained
    report = export.export_model(folder / "model.keras", tmp_path / "exports", formats, export.Options(**options))
    (artifact,) = report.artifacts
    assert sorted(artifact.outputs) == ["boxes", "scores"]
    assert artifact.parity.max_difference < 1e-2  # pixels
    with pytest.raises(ArgumentError, match="no auxiliary heads"):
        export.export_model(folder / "model.keras", tmp_path / "no", formats, export.Options(auxiliary=True))


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", ["flip", "none"])
def test_a_killed_run_resumes_to_the_very_same_weights(tmp_path, monkeypatch, augmentation):
    from tensorflow.python.framework.config import disable_op_determinism

    save_each_step(monkeypatch)
    recipe, source = RECIPE.replace(epochs=2, augmentation=augmentation), scenes(train=80)
    try:
        training.train(Net, source, recipe, tmp_path / "whole", quiet=True, deterministic=True)
        with killed_at(7, monkeypatch):
            training.train(Net, source, recipe, tmp_path / "killed", quiet=True, deterministic=True)
        training.train(Net, source, recipe, tmp_path / "killed", resume=True, quiet=True, deterministic=True)
    finally:
        disable_op_determinism()
    whole, resumed = (saving.load_model(tmp_path / run / "model.keras").get_weights() for run in ("whole", "killed"))
    assert all((one == other).all() for one, other in zip(whole, resumed, strict=True))


def test_networks_and_recipes_that_do_not_fit_are_refused(trained, tmp_path):
    folder, info = trained
    model, split = saving.load_model(folder / "model.keras"), scenes().split("test")
    with pytest.raises(ArgumentError, match="choose a network as SSD"):
        training.train(applications.ResNet20, scenes(), RECIPE, tmp_path / "never", quiet=True)
    with pytest.raises(ArgumentError, match="leave out mixup"):
        training.train(Net, scenes(), RECIPE.replace(label_smoothing=0.1), tmp_path / "never", quiet=True)
    with pytest.raises(ArgumentError, match="has 3 classes and the objects have 2"):
        evaluation.evaluate(model, split.named(None), info.preprocessing, ("a", "b"))
    with pytest.raises(ArgumentError, match="cannot be averaged"):
        evaluation.evaluate(model, split, info.preprocessing, NAMES, protocol="ten-crop")
    with pytest.raises(ArgumentError, match="a CRF refines"):
        evaluation.evaluate(model, split, info.preprocessing, NAMES, crf=evaluation.CRF())
    with pytest.raises(ArgumentError, match="an output 'predictions' and a layer 'boxes' that encodes"):
        deployed = keras.Model(model.input, {name: model.output[name] for name in ("boxes", "scores")})
        tasks.find_task("detection").objective(deployed, RECIPE)


def test_a_model_of_another_origin_needs_boxes_and_scores_alone(trained):
    folder, info = trained
    model, split = saving.load_model(folder / "model.keras"), scenes().split("test")
    foreign = keras.Model(model.input, {name: model.output[name] for name in ("boxes", "scores")})
    assert evaluation.evaluate(foreign, split, info.preprocessing, NAMES).mean_ap == pytest.approx(
        info.metrics["test"]["mean_ap"]
    )


def test_objects_are_shown_by_the_commands(trained, cli, tmp_path):
    folder, info = trained
    split = scenes().split("test")
    for name, k in (("a", 0), ("b", 1)):
        Image.fromarray(split.items[k].repeat(2, 0).repeat(2, 1)).save(tmp_path / f"{name}.png")
    images = (tmp_path / "a.png", tmp_path / "b.png")
    code, out, err = cli("predict", folder / "model.keras", *images, "--min-score", 0.05, "--json")
    assert code == 0, err
    for entry in json.loads(out):
        for found in entry["objects"]:
            assert found["class"] in NAMES and found["score"] >= 0.05
            assert 0 <= found["top"] < found["bottom"] <= 128 and 0 <= found["left"] < found["right"] <= 128
    code, out, err = cli("predict", folder / "model.keras", *images, "--output", tmp_path / "drawn", "--csv")
    assert code == 0 and out.startswith("path,class,score,top,left,bottom,right\n"), err
    assert Image.open(tmp_path / "drawn" / "a.png").size == (128, 128)
    code, _, err = cli("predict", folder / "model.keras", *images, "--crf", "paper")
    assert code and "--crf goes with models" in err


def test_a_plot_shows_objects_and_what_was_found(trained, tmp_path):
    folder, info = trained
    model, split = saving.load_model(folder / "model.keras"), scenes().split("test")
    evaluation.draw_predictions(model, split, info.preprocessing, NAMES, tmp_path / "plot.png", "Scenes", count=3)
    assert Image.open(tmp_path / "plot.png").height > 900


def test_detections_are_chosen_by_their_score():
    found = Detections(np.zeros((3, 4), "float32"), np.arange(3), np.array([0.9, 0.5, 0.1], "float32"))
    assert found.above(0.5).labels.tolist() == [0, 1] and len(found.above(1.0)) == 0
