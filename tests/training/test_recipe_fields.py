"""That training does what each field of its recipe says."""

import csv
import json

import keras
import numpy as np
import pytest
from colors import PressesCtrlC, press_ctrl_c
from colors import colors as all_colors

from keras_cnns import _models, data, recipes, training
from keras_cnns.data.pipeline import fit_color
from keras_cnns.data.sources import Source
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError, Interrupted
from keras_cnns.evaluation import evaluate
from keras_cnns.saving import load_model, read_info
from keras_cnns.training import _callbacks, compilation, make_datasets, shorter_side, train

PLAIN = recipes.Recipe("plain", learning_rate=0.02, schedule="constant", batch_size=16, epochs=2, precision="float32")


def Tiny(classes=10, input_shape=(12, 12, 3), heads=(), main="predictions"):
    """A classifier, perhaps with further heads."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, 2, activation="leaky_relu", name="conv1")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = [keras.layers.Dense(classes, "softmax", name=name)(x) for name in (main, *heads)]
    return keras.Model(inputs, outputs if heads else outputs[0], name="tiny")


def colors(size=(12, 12), shape=None, channels=3):
    """Return 80 training and 20 test images."""
    return all_colors(size=size, shape=shape, channels=channels)


def run_json(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.fixture
def passed(monkeypatch):
    """The options of `make_dataset`, a dictionary per call."""
    from keras_cnns.training import datasets

    calls, real = [], datasets.make_dataset

    def spy(*arguments, **options):
        calls.append(options)
        return real(*arguments, **options)

    monkeypatch.setattr(datasets, "make_dataset", spy)
    return calls


def test_smoothed_labels_are_one_hot_in_training_and_validation(tmp_path):
    info = train(Tiny, colors(), PLAIN.replace(label_smoothing=0.2, epochs=15), tmp_path)
    assert info.metrics["test"]["top1"] == 1.0 and info.recipe["label_smoothing"] == 0.2
    found = run_json(tmp_path)["history"]
    assert found["val_accuracy"][-1] == info.metrics["validation"]["top1"]
    # The smoothed loss cannot fall below the entropy of the labels; the model's record has its plain loss
    smooth = np.array([0.8 + 0.2 / 3, 0.2 / 3, 0.2 / 3])
    assert min(found["val_loss"]) > -(smooth * np.log(smooth)).sum()
    assert info.metrics["validation"]["loss"] < found["val_loss"][-1]


@pytest.mark.slow
def test_augmentation_of_images_and_labels_is_the_recipes(tmp_path, passed):
    recipe = PLAIN.replace(
        epochs=1, augmentation="pad-crop-flip", mixup=0.2, cutmix=0.5, rand_augment=0.3, erasing=0.25, color_noise=0.2
    )
    info = train(Tiny, colors(), recipe, tmp_path)
    batches, held_out = passed
    augment = batches["augmentation"]
    assert augment.geometry == recipe.augmentation
    for name in ("mixup", "cutmix", "rand_augment", "erasing"):
        assert getattr(augment, name) == getattr(recipe, name)
    assert batches["one_hot"] == held_out["one_hot"] == 3 and set(held_out) == {"one_hot", "share", "counting"}
    training_split, _ = colors().split("train").divide(0.1, 0)
    components = fit_color(training_split, info.preprocessing)
    assert augment.color == components and augment.color_deviation == 0.2


def test_color_noise_has_the_recipes_deviation():
    """Images have one color each, so that a change is the noise."""
    random = np.random.default_rng(0)
    palette = random.integers(60, 190, (400, 1, 1, 3), dtype="uint8")
    split = ArraySplit(np.broadcast_to(palette, (400, 4, 4, 3)).copy(), np.arange(400) % 3)
    record = data.Preprocessing((4, 4), 3, scale=(1.0,))
    found = fit_color(split, record)
    model = Tiny(3, (4, 4, 3))
    batches, _ = make_datasets(model, PLAIN.replace(color_noise=0.3, batch_size=400), record, split, split)
    images, _ = next(iter(batches))
    shuffled = images.numpy()[:, 0, 0]
    # Projected on the first component, variances of colors and of noise add up
    first = np.array(found.eigenvectors[0])
    colors_variance = (palette[:, 0, 0] @ first).var()
    expected = (0.3 * 255 * found.eigenvalues[0]) ** 2
    assert (shuffled @ first).var() - colors_variance == pytest.approx(expected, abs=0.35 * colors_variance)
    assert np.ptp(images.numpy(), axis=(1, 2)).max() < 1e-3


@pytest.mark.parametrize("moving_average", [None, pytest.param(0.5, marks=pytest.mark.slow)])
def test_auxiliary_heads(tmp_path, moving_average):
    recipe = PLAIN.replace(
        network={"heads": ["side"]},
        auxiliary_weight=0.5,
        epochs=12,
        label_smoothing=0.1,
        schedule="plateau",
        moving_average=moving_average,
    )
    info = train(Tiny, colors(), recipe, tmp_path)
    assert info.metrics["test"]["top1"] == 1.0
    found = run_json(tmp_path)["history"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "total_loss", "side_loss"} < set(found)
    assert not [key for key in found if "predictions" in key]
    with open(tmp_path / "log.csv") as file:
        (*_, last) = csv.DictReader(file)
    assert float(last["val_accuracy"]) == found["val_accuracy"][-1] and "learning_rate" in last
    for prefix in ("", "val_"):
        total = np.array(found[f"{prefix}loss"]) + 0.5 * np.array(found[f"{prefix}side_loss"])
        # Keras averages the loss of side heads over batches, and the last batch is smaller
        np.testing.assert_allclose(found[f"{prefix}total_loss"], total, rtol=0.05 if prefix == "" else 1e-4)
    assert (tmp_path / "curve.png").exists()
    model = load_model(tmp_path / "model.keras")
    assert model.output_names == ["predictions", "side"]
    again = evaluate(model, colors().split("test"), info.preprocessing, info.class_names)
    assert again.summary() == pytest.approx(info.metrics["test"])


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_main_heads_loss_counts_every_image_once(tmp_path, smoothing):
    """One head does so too; 71 images are five batches, the last of seven."""
    recipe = PLAIN.replace(optimizer="sgd", learning_rate=1e-12, label_smoothing=smoothing, epochs=1)
    two = {"network": {"heads": ["side"]}, "auxiliary_weight": 0.5}
    losses = []
    for k, changes in enumerate(({}, two)):
        train(Tiny, colors(), recipe.replace(**changes), tmp_path / str(k))
        found = run_json(tmp_path / str(k))["history"]
        losses.append([found["loss"][0], found["val_loss"][0], found["accuracy"][0]])
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize(
    "network, weight, message",
    [
        ({"heads": ["side"]}, 0.0, "tiny has 1. Received: auxiliary_weight=0.0"),
        ({}, 0.3, "tiny has 0. Received: auxiliary_weight=0.3"),
        ({"heads": ["side"], "main": "first"}, 0.3, "must output one vector per image"),
    ],
)
def test_heads_that_do_not_fit_are_refused(tmp_path, network, weight, message):
    with pytest.raises(ArgumentError, match=message):
        train(Tiny, colors(), PLAIN.replace(network=network, auxiliary_weight=weight), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_biases(tmp_path):
    recipe = PLAIN.replace(biases={"conv1": 1.0}, optimizer="sgd", learning_rate=1e-9)
    train(Tiny, colors(), recipe, tmp_path / "run")
    bias = load_model(tmp_path / "run" / "model.keras").get_layer("conv1").get_weights()[1]
    np.testing.assert_allclose(bias, 1.0, atol=1e-5)
    with pytest.raises(ArgumentError, match="tiny has no biases in a layer 'conv2', as the recipe plain has"):
        train(Tiny, colors(), PLAIN.replace(biases={"conv2": 1.0}), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_plateau_lowers_the_rate(tmp_path):
    # Nothing is learned, so that the first epoch stays the best
    recipe = PLAIN.replace(
        schedule="plateau", optimizer="sgd", learning_rate=1e-12, decay_factor=0.1, patience=2, epochs=5
    )
    try:
        train(Tiny, colors(), recipe, tmp_path)
    finally:
        rates = run_json(tmp_path)["history"]["learning_rate"]
    np.testing.assert_allclose(rates, [1e-12, 1e-12, 1e-12, 1e-13, 1e-13], rtol=1e-4)


@pytest.mark.slow
def test_a_plateau_without_validation_data_waits(recwarn):
    model = training.compile_model(Tiny(3), PLAIN.replace(schedule="plateau"), 2)
    callbacks = training.callbacks(None, PLAIN.replace(schedule="plateau"))
    model.fit(np.ones((4, 12, 12, 3)), np.zeros(4), epochs=2, verbose=0, callbacks=callbacks)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.02)


class Kernels(PressesCtrlC):
    """Keep the kernel after each step, and press Ctrl-C."""

    kernels = []

    def on_train_batch_end(self, batch, logs=None):
        self.kernels.append(self.model.get_layer("conv1").kernel.numpy())
        super().on_train_batch_end(batch, logs)


@pytest.mark.parametrize("stop", [None, pytest.param(1, marks=pytest.mark.slow), 7])
@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_a_moving_average_is_what_is_saved(tmp_path, monkeypatch, stop, schedule):
    monkeypatch.setattr(Kernels, "kernels", [])
    monkeypatch.setattr(Kernels, "step", stop)
    monkeypatch.setattr(compilation, "_steps_per_execution", lambda *_: 1)
    monkeypatch.setattr(keras.callbacks, "CSVLogger", Kernels)
    recipe = PLAIN.replace(moving_average=0.8, schedule=schedule)
    if stop:
        with pytest.raises(Interrupted):
            train(Tiny, colors(), recipe, tmp_path)
    else:
        train(Tiny, colors(), recipe, tmp_path)
    assert len(Kernels.kernels) == (stop or 10)
    mean = Kernels.kernels[0]
    for kernel in Kernels.kernels[1:]:
        mean = 0.8 * mean + 0.2 * kernel
    model, info = load_model(tmp_path / "model.keras"), read_info(tmp_path / "model.keras")
    np.testing.assert_allclose(model.get_layer("conv1").kernel.numpy(), mean, rtol=1e-4, atol=1e-6)
    if stop:  # The weights before their mean were measured, which are not saved
        assert not info.metrics and info.training["interrupted"]
        return
    _, validation = colors().split("train").divide(0.1, 0)
    again = evaluate(model, validation, info.preprocessing, info.class_names)
    assert again.summary() == pytest.approx(info.metrics["validation"])


def test_ctrl_c_in_the_first_step_saves_weights_that_are_not_zero(tmp_path, monkeypatch):
    press_ctrl_c(monkeypatch, step=1)
    monkeypatch.setattr(compilation, "_steps_per_execution", lambda *_: 1)
    with pytest.raises(Interrupted):
        train(Tiny, colors(), PLAIN.replace(moving_average=0.9), tmp_path)
    assert load_model(tmp_path / "model.keras").get_layer("conv1").kernel.numpy().any()


@pytest.mark.parametrize("kind", ["mean-image", "gcn-zca", "minus-one-one"])
def test_preprocessing_is_in_the_file(tmp_path, kind):
    source = colors(size=(6, 6))
    recipe = PLAIN.replace(preprocessing=kind, learning_rate=0.005)
    info = train(Tiny, source, recipe, tmp_path)
    read, model = read_info(tmp_path / "model.keras"), load_model(tmp_path / "model.keras")
    assert read == info and read.preprocessing == info.preprocessing
    if kind == "mean-image":
        pixels, _ = source.split("train").divide(0.1, 0)
        np.testing.assert_allclose(read.preprocessing.mean_image, pixels.items.mean(0), rtol=1e-5)
    again = evaluate(model, source.split("test"), read.preprocessing, read.class_names)
    assert again.top1 == info.metrics["test"]["top1"] and again.loss == pytest.approx(info.metrics["test"]["loss"])


def test_clipped_rmsprop(tmp_path):
    recipe = PLAIN.replace(optimizer="rmsprop", momentum=0.9, epsilon=1.0, clip_norm=2.0, weight_decay=4e-5)
    assert np.isfinite(train(Tiny, colors(), recipe, tmp_path).metrics["validation"]["loss"])


@pytest.mark.parametrize(
    "shape, size, augmentation, expected",
    [
        ((None, None), (224, 224), "none", 224),
        ((None, None), (224, 224), "crop-flip", 256),
        ((None, None), (227, 227), "scale-jitter", 259),
        ((None, None), (28, 28), "inception-crop", 32),
        ((256, 256), (224, 224), "crop-flip", 256),  # ImageNet as AlexNet had it
        ((256, 256), (224, 224), "pad-crop-flip", None),
        ((32, 32), (32, 32), "inception-crop", None),  # nothing larger to cut from
    ],
)
def test_the_resize_rule(shape, size, augmentation, expected):
    source = Source("s", ("a",), (*shape, 3), {})
    assert shorter_side(source, size, PLAIN.replace(augmentation=augmentation)) == expected


@pytest.mark.parametrize(
    "shape, fit, augmentation, expected",
    [
        ((None, None), "pad", "crop-flip", None),
        ((None, None), "stretch", "none", None),
        ((300, 300), "crop", "none", 224),
        ((300, 300), "crop", "crop-flip", 256),
    ],
)
def test_the_recipe_decides_the_resize_rule(shape, fit, augmentation, expected):
    source = Source("s", ("a",), (*shape, 3), {})
    assert shorter_side(source, (224, 224), PLAIN.replace(fit=fit, augmentation=augmentation)) == expected


def test_images_whose_every_pixel_counts_are_not_cropped():
    with pytest.raises(ArgumentError, match="choose fit 'stretch' or 'pad'"):
        shorter_side(data.open_source("shapes"), (32, 32), PLAIN.replace(fit="crop"))


def test_recipes_without_a_fit_are_written_as_before_it():
    assert "fit" not in PLAIN.to_json() and PLAIN.replace(fit="pad").to_json()["fit"] == "pad"
    with pytest.raises(ArgumentError, match="Did you mean 'pad'"):
        PLAIN.replace(fit="pads")


@pytest.mark.slow
def test_a_recipe_of_crops_is_measured_at_their_scale(tmp_path, passed):
    source = colors(size=(20, 26), shape=(None, None))
    info = train(Tiny, source, PLAIN.replace(augmentation="crop-flip", epochs=8), tmp_path, input_size=14)
    assert info.preprocessing.size == (14, 14) and info.preprocessing.shorter_side == 16
    assert passed[0]["augmentation"].geometry == "crop-flip" and info.metrics["test"]["top1"] == 1.0


def test_misspelt_fields_are_reported_before_training(tmp_path):
    for field in ("augmentation", "preprocessing"):
        with pytest.raises(ArgumentError, match="must be one of"):
            train(Tiny, colors(), PLAIN.replace(**{field: "crop"}), tmp_path)
    assert not (tmp_path / "log.csv").exists()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"schedule": "polynomial", "warmup_steps": 5}, "a rate of schedule='polynomial' cannot be warmed up to"),
        ({"schedule": "plateau", "decay_at": (0.5,), "decay_factor": (0.1,)}, "must be one number, except with"),
    ],
)
def test_recipes_whose_fields_contradict_each_other_are_refused(changes, message):
    with pytest.raises(ArgumentError, match=message):
        PLAIN.replace(**changes)


def test_names_of_one_head_stay():
    logs = {"loss": 1.0, "accuracy": 0.5}
    callback = _callbacks.MainHead()
    callback.set_model(Tiny(3))
    callback.on_epoch_end(0, logs)
    assert logs == {"loss": 1.0, "accuracy": 0.5} and _models.main_output(Tiny(3)).name == "tiny"


def test_a_rate_for_each_part():
    recipe = PLAIN.replace(optimizer="sgd", momentum=0.0, weight_decay=0.01, rates={"conv*": 0.1, "side": 0.0})
    model = Tiny(3, heads=["side"])
    training.compile_model(model, recipe.replace(auxiliary_weight=0.5), 10)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    training.compile_model(plain, recipe.replace(auxiliary_weight=0.5, rates={}), 10)
    before = {weight.path: weight.numpy() for weight in model.trainable_weights}
    random = np.random.default_rng(0)
    images, labels = random.normal(size=(8, 12, 12, 3)), random.integers(0, 3, 8)
    for network in (model, plain):
        network.train_on_batch(images, dict.fromkeys(("predictions", "side"), labels))
    for weight, other in zip(model.trainable_weights, plain.trainable_weights, strict=True):
        moved, whole = weight.numpy() - before[weight.path], other.numpy() - before[weight.path]
        factor = {"conv1": 0.1, "side": 0.0, "predictions": 1.0}[weight.path.split("/")[0]]
        np.testing.assert_allclose(moved, factor * whole, rtol=1e-3, atol=1e-7)
        assert np.abs(whole).max() > 1e-6


def test_a_rate_for_a_part_that_is_not_there():
    with pytest.raises(ArgumentError, match=r"no layer with trainable weights that fits.*Did you mean 'conv1'"):
        training.compile_model(Tiny(3), PLAIN.replace(rates={"conf1": 0.1}), 10)
    with pytest.raises(ArgumentError, match="leave out `rates` or `moving_average`"):
        PLAIN.replace(rates={"conv1": 0.1}, moving_average=0.9)


def test_a_training_with_rates_and_its_schedule(tmp_path):
    recipe = PLAIN.replace(rates={"conv1": 0.0}, schedule="plateau", epochs=3)
    train(Tiny, colors(), recipe, tmp_path)
    keras.utils.set_random_seed(0)
    first = Tiny(3)
    learned = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(learned.get_layer("conv1").kernel.numpy(), first.get_layer("conv1").kernel.numpy())
    assert not np.array_equal(learned.layers[-1].kernel.numpy(), first.layers[-1].kernel.numpy())


def test_accumulated_gradients_are_those_of_the_larger_batch():
    random = np.random.default_rng(0)
    images, labels = random.normal(size=(8, 12, 12, 3)).astype("float32"), random.integers(0, 3, 8)
    recipe, results = PLAIN.replace(optimizer="sgd"), []
    first = Tiny(3).get_weights()
    for batch, accumulation in ((8, 1), (4, 2)):
        model = Tiny(3)
        model.set_weights(first)
        training.compile_model(model, recipe.replace(batch_size=batch, accumulation=accumulation), 8 // batch)
        model.fit(images, labels, batch_size=batch, shuffle=False, epochs=2, verbose=0)
        results.append(model.get_weights())
    for weight, other in zip(*results, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-6)


def unequal():
    """Return a source of 60 red, 15 green and 5 blue images."""
    source, labels = colors(), np.repeat([0, 1, 2], [60, 15, 5])
    images = source.split("train").items[[np.flatnonzero(np.arange(80) % 3 == label)[0] for label in labels]]
    return Source(
        "unequal", source.class_names, source.image_shape, {**source.splits, "train": ArraySplit(images, labels)}
    )


@pytest.mark.parametrize("smoothing", [pytest.param(0.0, marks=pytest.mark.slow), 0.1])
@pytest.mark.parametrize("heads", [(), ("side",)])
def test_classes_weigh_the_same(smoothing, heads):
    recipe = PLAIN.replace(balance="weights", label_smoothing=smoothing, auxiliary_weight=0.5 if heads else 0.0)
    model, split = Tiny(3, heads=heads), unequal().split("train")
    training.compile_model(model, recipe, 5)
    batches, held_out = make_datasets(model, recipe, data.Preprocessing((12, 12)), split, split)
    sums = np.zeros(3)
    for _, labels, weights in batches.as_numpy_iterator():
        if heads:
            assert set(labels) == {"predictions", "side"}
            labels = labels["side"]
        classes = labels.argmax(1) if smoothing else labels
        np.add.at(sums, classes, weights)
    np.testing.assert_allclose(sums, 80 / 3, rtol=1e-5)
    assert len(held_out.element_spec) == 2  # Validation images have no weights
    model.fit(batches, validation_data=held_out, shuffle=False, verbose=0)


def test_scarce_images_are_repeated(tmp_path):
    info = train(Tiny, unequal(), PLAIN.replace(balance="repeat"), tmp_path)
    assert info.training["pictures"] == 3 * 54 and info.metrics["validation"]["examples"] == 9


def test_small_networks_take_several_steps_at_once():
    from keras_cnns import applications

    def steps(model, batch=128):
        return training.compile_model(model, PLAIN.replace(batch_size=batch), 1000).steps_per_execution

    assert steps(applications.LeNet5()) == 32
    assert steps(applications.ResNet20()) == 1
    assert training.compile_model(applications.LeNet5(), PLAIN, 5).steps_per_execution == 5
    assert training.compile_model(applications.LeNet5(), PLAIN, 5, steps_per_execution=1).steps_per_execution == 1
