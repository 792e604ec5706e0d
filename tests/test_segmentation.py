"""The road of networks that give each pixel a class."""

import keras
import numpy as np
import pytest
from killing import killed_at, save_each_step
from PIL import Image
from sklearn.metrics import jaccard_score

from keras_cnns import applications, data, evaluation, export, recipes, saving, tasks, training
from keras_cnns.data.file_split import FileSplit
from keras_cnns.errors import ArgumentError

RECIPE = recipes.Recipe(
    "plain", learning_rate=0.01, batch_size=16, epochs=8, precision="float32", augmentation="pad-crop-flip"
)
NAMES = ("background", "disc", "triangle", "square")


def Net(classes=4, input_shape=(32, 32, 3), activation="softmax"):
    """Build a small network with a map of half the size in between."""
    x = inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(16, 5, padding="same", activation="relu", name="conv1")(x)
    fine = x
    x = keras.layers.MaxPooling2D(name="pool1")(x)
    x = keras.layers.Conv2D(32, 5, padding="same", activation="relu", dilation_rate=2, name="conv2")(x)
    x = keras.layers.UpSampling2D(interpolation="bilinear", name="up")(x)
    x = keras.layers.Concatenate(name="both")([x, fine])
    x = keras.layers.Conv2D(classes, 1, name="score")(x)
    if activation:
        x = keras.layers.Activation(activation, dtype="float32", name="predictions")(x)
    return keras.Model(inputs, x, name="net")


def shapes(train=240, validation=40, test=40, seed=0, shuffled=False, size=32, radius=(0.2, 0.3)):
    """Return a source of shapes with masks; shuffled: the masks are those of other images."""
    drawn = data.make_shapes(train + validation + test, size, seed=seed, radius=radius)
    masks = (drawn.masks * (drawn.labels[:, None, None] + 1)).astype("uint8")
    if shuffled:
        masks = masks[np.random.default_rng(0).permutation(len(masks))]
    splits, start = {}, 0
    for name, count in {"train": train, "validation": validation, "test": test}.items():
        part = slice(start, start + count)
        splits[name], start = data.ArraySplit(drawn.images[part], masks[part], data.Mask(4)), start + count
    return data.Source("shapes", NAMES, (size, size, 3), splits)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "shapes"
    return folder, training.train(Net, shapes(), RECIPE, folder, quiet=True)


def test_a_small_network_learns_shapes(trained):
    folder, info = trained
    assert info.task == "segmentation" and saving.read_info(folder / "model.keras") == info
    test = info.metrics["test"]
    # The share of the background is what a network gets that says nothing else
    background = (np.concatenate([split.targets for split in shapes().splits.values()]) == 0).mean()
    assert test["mean_iou"] > 0.55 and test["pixel_accuracy"] > background + 0.04
    assert (folder / "curve.png").exists()
    log = np.genfromtxt(folder / "log.csv", delimiter=",", names=True)
    assert saving.read_info(folder / "best.keras").metrics["validation"]["mean_iou"] == log["val_mean_iou"].max()


def test_auxiliary_heads_are_trained_and_left_out(tmp_path):
    def network(classes, input_shape):
        net = Net(classes, input_shape)
        side = keras.layers.Conv2D(classes, 1, name="side")(net.get_layer("both").output)
        side = keras.layers.Activation("softmax", dtype="float32", name="side_predictions")(side)
        return keras.Model(net.input, [net.output, side], name="net")

    recipe = RECIPE.replace(epochs=1, auxiliary_weight=1.0, augmentation="none")
    info = training.train(network, shapes(32, 16, 16), recipe, tmp_path / "run", quiet=True)
    model = saving.load_model(tmp_path / "run" / "model.keras")
    assert len(model.outputs) == 2
    result = evaluation.evaluate(model, shapes(32, 16, 16).split("validation"), info.preprocessing, NAMES)
    log = np.genfromtxt(tmp_path / "run" / "log.csv", delimiter=",", names=True)
    # What is logged is the cross-entropy of the result alone, each pixel counted once
    assert result.loss == pytest.approx(float(log["val_loss"]), rel=1e-3)
    assert result.mean_iou == pytest.approx(float(log["val_mean_iou"]), abs=1e-6)
    with pytest.raises(ArgumentError, match="needs a recipe with a weight for them"):
        training.train(network, shapes(32, 16, 16), RECIPE, tmp_path / "never", quiet=True)


@pytest.mark.slow
def test_finer_maps_find_small_shapes(tmp_path):
    """FCN-32s has one score for 32x32 pixels, into which a whole shape fits."""
    scores = {}
    for name in ("FCN32s", "FCN8s"):

        def network(classes, input_shape, name=name):
            return getattr(applications, name)(backbone="ResNet18", classes=classes, input_shape=input_shape)

        recipe = RECIPE.replace(learning_rate=1e-3, epochs=15, augmentation="none")
        info = training.train(network, shapes(300, size=64, radius=(0.1, 0.2)), recipe, tmp_path / name, quiet=True)
        scores[name] = info.metrics["test"]["mean_iou"]
    assert scores["FCN8s"] > scores["FCN32s"] + 0.2


@pytest.mark.slow
def test_masks_of_other_images_teach_nothing(tmp_path):
    info = training.train(Net, shapes(shuffled=True), RECIPE, tmp_path / "run", quiet=True)
    assert info.metrics["test"]["mean_iou"] < 0.3


def test_the_validation_of_training_is_that_of_evaluation(trained):
    """Both have the input's size here."""
    folder, info = trained
    model = saving.load_model(folder / "model.keras")
    result = evaluation.evaluate(model, shapes().split("validation"), info.preprocessing, NAMES)
    log = np.genfromtxt(folder / "log.csv", delimiter=",", names=True)
    assert result.mean_iou == pytest.approx(log["val_mean_iou"][-1], abs=1e-6)
    assert result.loss == pytest.approx(log["val_loss"][-1], rel=1e-4)


def test_images_are_evaluated_at_their_own_size(trained, tmp_path):
    """Expected is the same with Pillow's and NumPy's arithmetic, image by image."""
    folder, info = trained
    model, random = saving.load_model(folder / "model.keras"), np.random.default_rng(0)
    split, paths, masks = shapes().split("test"), [], []
    for k, (image, mask) in enumerate(zip(split.items[:7], split.targets[:7], strict=True)):
        size = tuple(random.integers(20, 90, 2).tolist())  # width, height
        paths.append(str(tmp_path / f"{k}.png"))
        Image.fromarray(image).resize(size).save(paths[-1])
        masks.append(tmp_path / f"{k}_mask.png")
        Image.fromarray(mask).resize(size, Image.Resampling.NEAREST).save(masks[-1])
    files = FileSplit(np.array(paths, object), [str(path) for path in masks], data.Mask(4))
    result = evaluation.evaluate(model, files, info.preprocessing, NAMES, batch_size=12)
    confusion = np.zeros((4, 4), "int64")
    for path, mask_path in zip(paths, masks, strict=True):
        mask = np.asarray(Image.open(mask_path))
        shown = data.prepare(data.read_image(path), info.preprocessing).numpy()[None].astype("float32")
        small = model.predict(info.preprocessing.normalize(shown), verbose=0)[0]
        width_height = mask.shape[::-1]
        layers = [
            np.asarray(Image.fromarray(small[..., k]).resize(width_height, Image.Resampling.BILINEAR)) for k in range(4)
        ]
        if mask.shape[0] >= 32 and mask.shape[1] >= 32:  # Pillow averages where it reduces, TensorFlow does not
            np.add.at(confusion, (mask, np.argmax(layers, axis=0)), 1)
    larger = [k for k, path in enumerate(masks) if min(Image.open(path).size) >= 32]
    assert len(larger) >= 3 and result.examples == 7
    again = evaluation.evaluate(model, files.take(larger), info.preprocessing, NAMES)
    assert np.abs(np.array(again.confusion) - confusion).sum() / confusion.sum() < 0.002


def test_a_model_of_logits_gives_the_same(trained):
    folder, info = trained
    model, logits = saving.load_model(folder / "model.keras"), Net(activation=None)
    logits.set_weights(model.get_weights())
    split = shapes().split("test")
    one, other = (evaluation.evaluate(each, split, info.preprocessing, NAMES) for each in (model, logits))
    assert one.confusion == other.confusion and one.loss == pytest.approx(other.loss, rel=1e-4)


@pytest.mark.parametrize(
    ("formats", "options"),
    [
        ("tflite", {}),
        pytest.param("saved_model", {}, marks=pytest.mark.slow),
        pytest.param("onnx", {}, marks=pytest.mark.slow),
        pytest.param("tflite", {"quantize": "int8"}, marks=pytest.mark.slow),
        pytest.param("onnx", {"logits": True}, marks=pytest.mark.slow),
    ],
)
def test_exports_are_proven_pixel_by_pixel(trained, tmp_path, formats, options):
    folder, _ = trained
    report = export.export_model(folder / "model.keras", tmp_path / "exports", formats, export.Options(**options))
    (artifact,) = report.artifacts
    assert list(artifact.outputs) == ["logits" if options.get("logits") else "probabilities"]
    assert artifact.parity.unit == "pixels" and artifact.parity.examples == report.examples * 32 * 32
    assert artifact.parity.agreement == 1 if not options.get("quantize") else artifact.parity.agreement > 0.97
    if formats == "saved_model":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(artifact.path))
        content = tf.io.encode_png(shapes().split("test").items[0])
        outputs = loaded.signatures["serve_image_bytes"](tf.stack([content]))
        np.testing.assert_array_equal(outputs["mask"], outputs["probabilities"].numpy().argmax(-1))
        assert outputs["mask"].dtype == tf.uint8 and outputs["mask"].shape == (1, 32, 32)


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", ["pad-crop-flip", "inception-crop"])
def test_a_killed_run_resumes_to_the_very_same_weights(tmp_path, monkeypatch, augmentation):
    from tensorflow.python.framework.config import disable_op_determinism

    save_each_step(monkeypatch)
    recipe, source = RECIPE.replace(epochs=2, augmentation=augmentation), shapes(train=80)
    try:
        training.train(Net, source, recipe, tmp_path / "whole", quiet=True, deterministic=True)
        with killed_at(7, monkeypatch):
            training.train(Net, source, recipe, tmp_path / "killed", quiet=True, deterministic=True)
        training.train(Net, source, recipe, tmp_path / "killed", resume=True, quiet=True, deterministic=True)
    finally:
        disable_op_determinism()
    whole, resumed = (saving.load_model(tmp_path / run / "model.keras").get_weights() for run in ("whole", "killed"))
    assert all((one == other).all() for one, other in zip(whole, resumed, strict=True))


def random_maps(seed=0, images=5, classes=6, used=5):
    random = np.random.default_rng(seed)
    for _ in range(images):
        size = tuple(random.integers(3, 30, 2).tolist())
        mask = random.integers(0, used, size).astype("uint8")
        probabilities = random.dirichlet(np.ones(used), size)
        probabilities = np.concatenate([probabilities, np.zeros((*size, classes - used))], axis=-1).astype("float32")
        mask[random.random(size) < 0.1] = 255
        yield probabilities, mask


def test_the_score_is_that_of_its_definition_and_of_others():
    metric = tasks.MaskMetric([f"class {k}" for k in range(6)])
    pairs = list(random_maps())
    for probabilities, mask in pairs:
        metric.update([probabilities], [mask])
    result = metric.result()
    known = np.concatenate([mask[mask != 255] for _, mask in pairs])
    predicted = np.concatenate([probabilities.argmax(-1)[mask != 255] for probabilities, mask in pairs])
    jaccard = jaccard_score(known, predicted, average=None)
    assert list(result.iou.values())[:5] == pytest.approx(jaccard)
    assert result.iou["class 5"] is None and result.accuracy["class 5"] is None  # It does not occur
    assert result.mean_iou == pytest.approx(jaccard.mean())
    assert result.frequency_weighted_iou == pytest.approx((jaccard * np.bincount(known) / len(known)).sum())
    assert result.pixel_accuracy == pytest.approx((known == predicted).mean())
    recalls = [(predicted[known == k] == k).mean() for k in range(5)]
    assert result.mean_accuracy == pytest.approx(np.mean(recalls))
    keras_metric = keras.metrics.MeanIoU(6, ignore_class=255, sparse_y_pred=False)
    for probabilities, mask in pairs:
        keras_metric.update_state(mask.astype("int32"), probabilities)
    assert result.mean_iou == pytest.approx(float(keras_metric.result()), rel=1e-5)
    table = result.table()
    assert len(table.rows) == 7 and table.rows[5] == ("class 5", "0.00%", "", "")
    assert f"{len(known):,} pixels of 5 images" in table.notes[0]


def test_a_result_is_drawn(tmp_path):
    metric = tasks.MaskMetric([f"class {k}" for k in range(6)])
    metric.update(*zip(*random_maps(), strict=True))
    metric.result().draw(tmp_path / "new", "Six classes")
    assert Image.open(tmp_path / "new" / "confusion.png").size > (300, 300)


def test_what_cannot_be_measured_is_named():
    metric = tasks.MaskMetric(["a", "b"])
    even = np.full((2, 2, 2), 0.5, "float32")
    with pytest.raises(ArgumentError, match="there are no images"):
        metric.result()
    metric.update([even], [np.full((2, 2), 255, "uint8")])
    with pytest.raises(ArgumentError, match="no pixel of these 1 images has a known class"):
        metric.result()
    with pytest.raises(ArgumentError, match="a mask has class 2, and there are 2 classes"):
        metric.update([even], [np.full((2, 2), 2, "uint8")])
    with pytest.raises(ArgumentError, match="must have the size of its mask"):
        metric.update([even], [np.zeros((2, 3), "uint8")])
    with pytest.raises(ArgumentError, match="NaN or infinite"):
        metric.update([even * np.nan], [np.zeros((2, 2), "uint8")])


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
def test_maps_of_padded_images_return_to_their_size(shape):
    """A network that reads the class off the color sees whole images, whatever their shape."""
    random = np.random.default_rng(0)
    masks = random.integers(0, 2, (3, shape[0] // 10, shape[1] // 10), "uint8").repeat(10, 1).repeat(10, 2)
    images = np.repeat(masks[..., None] * np.uint8(255), 3, -1)
    inputs = keras.Input((64, 64, 3))
    bright = keras.ops.mean(inputs, -1, keepdims=True)
    model = keras.Model(inputs, keras.ops.concatenate([1 - bright, bright], -1))
    split = data.ArraySplit(images, masks, data.Mask(2))
    for fit, protocol in (("stretch", "center"), ("pad", "center"), ("pad", "mirror")):
        record = data.Preprocessing((64, 64), 3, fit=fit)
        result = evaluation.evaluate(model, split, record, ("dark", "bright"), protocol=protocol)
        assert result.mean_iou > 0.9


def test_networks_and_recipes_that_do_not_fit_are_refused(trained, tmp_path):
    folder, info = trained
    model, split = saving.load_model(folder / "model.keras"), shapes().split("test")

    def flat(classes, input_shape):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Dense(classes)(keras.layers.Flatten()(inputs)))

    with pytest.raises(ArgumentError, match="must output one map of the image's size"):
        training.train(flat, shapes(), RECIPE, tmp_path / "never", quiet=True)
    for changes in ({"mixup": 0.2}, {"label_smoothing": 0.1}):
        with pytest.raises(ArgumentError, match="leave out mixup, cutmix and label_smoothing"):
            training.train(Net, shapes(), RECIPE.replace(**changes), tmp_path / "never", quiet=True)
    with pytest.raises(ArgumentError, match="has 4 classes and the masks have 2"):
        evaluation.evaluate(model, split.named(None), info.preprocessing, ("a", "b"))
    with pytest.raises(ArgumentError, match="choose center, mirror or multi-scale"):
        evaluation.evaluate(model, split, info.preprocessing, NAMES, protocol="ten-crop")
    with pytest.raises(ArgumentError, match="use one with shorter_side=None"):
        evaluation.evaluate(model, split, data.Preprocessing((32, 32), 3, shorter_side=36), NAMES)
