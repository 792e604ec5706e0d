"""Recipes: the papers' weight decay and schedules, by Keras's optimizers."""

import json

import keras
import numpy as np
import pytest
from families import random_images, small

from keras_cnns import recipes
from keras_cnns.errors import ArgumentError
from keras_cnns.training._callbacks import callbacks
from keras_cnns.training.compilation import compile_model, set_biases, targets
from keras_cnns.training.optimizers import learning_rate, optimizer


def rates(recipe, steps):
    rate = learning_rate(recipe, steps)
    return np.array([float(rate(step)) if callable(rate) else rate for step in range(steps)])


@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_weight_decay_passes_through_the_momentum(momentum):
    """1,000 steps without gradient equal a loop."""
    recipe = recipes.Recipe(
        "r", optimizer="sgd", learning_rate=0.01, momentum=momentum, weight_decay=5e-4, schedule="constant"
    )
    kernel, bias = keras.Variable(np.ones(3), name="kernel"), keras.Variable(np.ones(3), name="bias")
    sgd = optimizer(recipe, 1000)
    sgd.build([kernel, bias])
    w, velocity = 1.0, 0.0
    for _ in range(1000):
        sgd.apply([keras.ops.zeros(3), keras.ops.zeros(3)])
        velocity = momentum * velocity - 0.01 * 5e-4 * w
        w += velocity
    shrunk = 1 - float(kernel.numpy()[0])
    assert shrunk == pytest.approx(1 - w, rel=0.02)
    assert shrunk > 0.009  # Keras's weight decay would give .005
    np.testing.assert_array_equal(bias.numpy(), np.ones(3, "float32"))


@pytest.mark.slow
def test_weight_decay_with_gradients_equals_an_l2_term():
    """Both settle at the minimum of a quadratic loss with L2 term."""
    recipe = recipes.Recipe("r", optimizer="sgd", learning_rate=0.01, weight_decay=0.05, schedule="constant")
    kernel = keras.Variable(np.zeros(1), name="kernel")
    sgd = optimizer(recipe, 3000)
    sgd.build([kernel])
    w, velocity = 0.0, 0.0
    for _ in range(3000):
        sgd.apply([kernel.value - 1.0])  # the gradient of (w - 1)^2 / 2
        velocity = 0.9 * velocity - 0.01 * ((w - 1.0) + 0.05 * w)
        w += velocity
    assert w == pytest.approx(1 / 1.05, rel=1e-4) and float(kernel.numpy()[0]) == pytest.approx(w, rel=5e-3)


def test_weight_decay_can_be_zero_or_decoupled():
    assert not optimizer(recipes.Recipe("r", optimizer="sgd", schedule="constant"), 10).weight_decay
    assert optimizer(recipes.SHORT, 10).weight_decay == recipes.SHORT.weight_decay


def test_cosine_rises_and_falls_to_zero():
    recipe = recipes.Recipe("r", learning_rate=0.1, schedule="cosine", warmup_steps=20)
    values = rates(recipe, 100)
    assert values[0] == 0 and values[20] == pytest.approx(0.1) and values.argmax() == 20
    expected = 0.05 * (1 + np.cos(np.pi * np.arange(80) / 80))
    np.testing.assert_allclose(values[20:], expected, rtol=1e-4, atol=1e-6)
    assert rates(recipe.replace(warmup_steps=0), 100)[0] == pytest.approx(0.1)


def test_steps_divide_at_shares_of_the_training_run():
    recipe = recipes.Recipe("r", learning_rate=0.1, schedule="step", decay_at=(0.5, 0.75), warmup_steps=20)
    values = rates(recipe, 200)
    assert (np.diff(values[:21]) >= 0).all() and values[0] == pytest.approx(0.1 / 11)
    assert values[30] == values[100] == pytest.approx(0.1)
    assert values[101] == pytest.approx(0.01) and values[199] == pytest.approx(0.001)
    flat = recipe.replace(schedule="constant", warmup_steps=0)
    assert set(rates(flat, 50)) == {0.1}


@pytest.mark.parametrize("warmup", [1, 5, 9, 20])
def test_short_warm_ups_rise(warmup):
    values = rates(recipes.Recipe("r", learning_rate=0.1, schedule="constant", warmup_steps=warmup), 100)
    assert values[0] < 0.1 and (np.diff(values[: warmup + 1]) >= 0).all()
    assert (values[warmup:] == values[-1]).all() and values[-1] == pytest.approx(0.1)


def test_a_warm_up_longer_than_the_training_run_ends_halfway():
    for schedule in ("cosine", "step", "constant"):
        values = rates(recipes.Recipe("r", learning_rate=0.1, schedule=schedule, warmup_steps=500), 40)
        assert values.max() == pytest.approx(0.1) and np.isfinite(values).all()


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=lambda r: r.name)
def test_recipes_are_frozen_and_restored_from_json(recipe):
    again = recipes.Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again.to_json() == recipe.to_json() and again.network == recipe.network
    with pytest.raises(AttributeError):
        recipe.epochs = 3
    with pytest.raises(TypeError):
        recipe.network["variant"] = "svhn"


def with_slow(every_recipe):
    """Mark recipes of deep networks, or similar to another, as slow."""
    deep = ("inception", "resnet-v2", "resnet-modern", "resnet-imagenet", "googlenet", "vgg", "zfnet", "caffenet")
    deep += ("alexnet-one", "alexnet-imagenet", "maxout-cifar10", "nin-cifar10", "nin-imagenet", "resnet-cifar10")
    similar = ("nin-fashion-mnist", "nin-modern-again", "fine-tuning", "nin-digits", "nin-mnist", "nin-modern")
    slow = (*deep, *similar, "lenet5-m", "fcn", "deeplab", "crf-rnn", "masks", "ssd")
    return [
        pytest.param(recipe, marks=[pytest.mark.slow] if recipe.name.startswith(slow) else [])
        for recipe in every_recipe
    ]


@pytest.mark.parametrize("recipe", with_slow(recipes.RECIPES.values()), ids=lambda r: r.name)
def test_recipes_fit_their_networks(recipe):
    """Every builder accepts the options and has the named layers."""
    from keras_cnns.data.geometry import AUGMENTATIONS
    from keras_cnns.data.statistics import PREPROCESSINGS

    assert recipe.augmentation in AUGMENTATIONS and recipe.preprocessing in PREPROCESSINGS
    for builder in recipe.builders:
        model = small(builder, dict(recipe.network), classes=4)
        set_biases(model, recipe)
        for name, value in recipe.biases.items():
            assert set(np.asarray(model.get_layer(name).bias)) == {np.float32(value)}
        heads = 1 if isinstance(model.output, dict) else len(model.outputs)
        assert (heads > 1) == (recipe.auxiliary_weight > 0)
        assert recipes.get_recipe(recipe.name, builder) is recipe


def test_every_network_has_the_recipe_of_its_paper():
    from keras_cnns import applications

    builders = {name for recipe in recipes.PAPERS for name in recipe.builders}
    lacking = set(applications.list_models()) - builders
    assert not lacking, f"no recipe in PAPERS, of which each file of recipes/ has some, for {sorted(lacking)}"
    assert builders <= set(applications._BUILDERS)
    assert len({recipe.name for recipe in (*recipes.MODERN, *recipes.PAPERS)}) == len(recipes.RECIPES)


def test_biases_of_missing_layers_are_refused():
    recipe = recipes.ALEXNET_IMAGENET
    with pytest.raises(ArgumentError, match="nin has no biases in a layer 'conv4', as the recipe alexnet-imagenet has"):
        set_biases(small("NiN", {}), recipe)


def test_the_other_schedules_match_their_formulas():
    base = recipes.Recipe("r", optimizer="sgd", learning_rate=0.1, epochs=10)
    linear = rates(base.replace(schedule="polynomial"), 100)
    np.testing.assert_allclose(linear, 0.1 * (1 - np.arange(100) / 100), rtol=1e-5)
    stairs = rates(base.replace(schedule="exponential", decay_factor=0.94, decay_epochs=2), 100)
    np.testing.assert_allclose(stairs, 0.1 * 0.94 ** (np.arange(100) // 20), rtol=1e-5)
    caffe = rates(base.replace(schedule="inverse", gamma=1e-4, power=0.75), 100)
    np.testing.assert_allclose(caffe, 0.1 * (1 + 1e-4 * np.arange(100)) ** -0.75, rtol=1e-5)
    uneven = base.replace(schedule="step", decay_at=(0.2, 0.5), decay_factor=(0.4, 0.02))
    np.testing.assert_allclose(rates(uneven, 100)[[20, 21, 50, 51]], [0.1, 0.04, 0.04, 0.002], rtol=1e-5)
    plateau = base.replace(schedule="plateau", patience=3)
    (callback,) = (c for c in callbacks(None, plateau) if isinstance(c, keras.callbacks.ReduceLROnPlateau))
    assert rates(plateau, 5)[0] == 0.1 and (callback.factor, callback.patience) == (0.1, 3)
    assert len(callbacks(None, base)) == len(callbacks(None, plateau)) - 1


def test_custom_schedules_are_saved_with_the_model(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "softmax")])
    compile_model(model, recipes.LENET5_MODERN_MNIST, 10)
    model.fit(np.ones((4, 2)), np.zeros(4), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert float(again.learning_rate) == pytest.approx(float(model.optimizer.learning_rate))


def test_rmsprop_with_clipping_and_a_moving_average():
    rmsprop = optimizer(recipes.INCEPTION_V3_IMAGENET, 100)
    assert (rmsprop.rho, rmsprop.momentum, rmsprop.epsilon) == (0.9, 0.9, 1.0)
    assert rmsprop.global_clipnorm == 2.0 and rmsprop.use_ema and rmsprop.ema_momentum == 0.9999
    # A training run ends with the moving average of the weights, not with the last weights
    recipe = recipes.Recipe("r", "x", optimizer="sgd", learning_rate=1.0, schedule="constant", moving_average=0.5)
    kernel = keras.Variable(np.zeros(1), name="kernel")
    sgd = optimizer(recipe.replace(momentum=0.0), 3)
    sgd.build([kernel])
    mean = 1.0  # Keras's average starts from the weights after the first step
    for step in range(3):
        sgd.apply([keras.ops.convert_to_tensor([-1.0])])
        mean = 0.5 * mean + 0.5 * (step + 1)
    sgd.finalize_variable_values([kernel])
    assert float(kernel.numpy()[0]) == pytest.approx(mean)


def test_losses_follow_the_recipe():
    """Smoothed labels and weighted heads equal plain NumPy."""
    x = keras.Input((5,))
    first = keras.layers.Dense(3, "softmax", name="predictions")(x)
    side = keras.layers.Dense(3, "softmax", name="loss1_predictions")(x)
    model = keras.Model(x, [first, side])
    recipe = recipes.Recipe("r", label_smoothing=0.1, auxiliary_weight=0.3, epochs=1)
    compile_model(model, recipe, 1)
    inputs, labels = np.random.default_rng(0).normal(size=(8, 5)).astype("float32"), np.eye(3)[np.arange(8) % 3]
    metrics = model.evaluate(inputs, targets(model, labels), verbose=0, return_dict=True)
    smooth = 0.9 * labels + 0.1 / 3
    expected = [-(smooth * np.log(out)).sum(1).mean() for out in model.predict(inputs, verbose=0)]
    assert metrics["loss"] == pytest.approx(expected[0] + 0.3 * expected[1], rel=1e-5)
    right = (model.predict(inputs, verbose=0)[0].argmax(1) == labels.argmax(1)).mean()
    assert metrics["predictions_accuracy"] == pytest.approx(right)


ALL_FOR_MASKS = (*recipes.segmentation.SEGMENTATION, recipes.MASKS)


ALL_FOR_BOXES = (*recipes.detection.DETECTION, recipes.BOXES)


def of_images(recipe):
    """Return whether a recipe is for networks that give each image a class."""
    return recipe not in (*ALL_FOR_MASKS, *ALL_FOR_BOXES)


@pytest.mark.parametrize("recipe", with_slow(ALL_FOR_BOXES), ids=lambda r: r.name)
def test_recipes_for_boxes_lower_the_loss(recipe):
    """On a small network that is not trained, at a hundredth of the rate."""
    from keras_cnns import applications, tasks

    task = tasks.find_task("detection")
    keras.utils.set_random_seed(0)
    model = applications.SSD(input_shape=(32, 32, 3), classes=2, channels=16)
    changed = recipe.replace(
        learning_rate=recipe.learning_rate / 10,
        epochs=12,
        schedule="constant",
        decay_at=(),
        decay_factor=0.1,
        warmup_steps=0,
    )
    compile_model(model, changed, 1, task=task)
    targets = {
        "boxes": np.tile(np.array([[[2, 2, 14, 18]], [[8, 10, 30, 28]]], "float32"), (2, 1, 1)),
        "labels": np.array([[0], [1], [0], [1]]),
        "crowd": np.zeros((4, 1), bool),
    }
    encoded = {name: np.asarray(values) for name, values in task.encoding(model, recipe).encode(targets).items()}
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    history = model.fit(x, encoded, epochs=12, batch_size=4, verbose=0).history["loss"]
    assert np.isfinite(history).all() and min(history[-3:]) < history[0]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ALL_FOR_MASKS, ids=lambda r: r.name)
def test_recipes_for_masks_lower_the_loss(recipe):
    """On a small backbone that is not trained, at one of two rates: the papers' are for trained networks."""
    from keras_cnns import applications, tasks

    network = {"backbone": "ResNet20", "input_shape": (16, 16, 3), "classes": 3}
    if "multi_scale" in recipe.network:
        network["multi_scale"] = True
    if "freeze_batch_norm" in recipe.network:  # without training, its statistics normalize nothing
        network["freeze_batch_norm"] = False
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    y = np.where(x.mean(-1) > 0, 1, 0)
    y[:, 0] = 255
    falls, constant = [], {"schedule": "constant", "decay_at": (), "decay_factor": 0.1}
    for rate in (1e-3, 1e-7):  # mean-field steps multiply a gradient many times
        keras.utils.set_random_seed(0)
        model = getattr(applications, recipe.builders[0])(**network)
        changed = recipe.replace(learning_rate=rate, momentum=0.9, epochs=12, **constant)
        compile_model(model, changed, 1, task=tasks.find_task("segmentation"))
        history = model.fit(x, targets(model, y), epochs=12, batch_size=4, verbose=0).history
        (iou,) = (values for name, values in history.items() if name.endswith("mean_iou"))
        assert np.isfinite(history["loss"]).all() and 0 <= iou[-1] <= 1
        falls.append(history["loss"][-1] < history["loss"][0])
        if falls[-1]:
            return
    raise AssertionError(falls)


@pytest.mark.parametrize("recipe", with_slow(filter(of_images, recipes.RECIPES.values())), ids=lambda r: r.name)
def test_every_recipe_lowers_the_loss(recipe):
    """A few steps at a reduced rate lower the loss.

    The papers' rates are for hundreds of images per step. On eight images, momentum overshoots in some networks, while
    those that start from tiny weights hardly move at lower rates. The loss must stay finite, and fall at a tenth or a
    500th of the rate.
    """
    builder = (recipe.builders or ("NiN",))[0]
    falls = []
    for share in (0.1, 0.002):
        keras.utils.set_random_seed(0)
        model = small(builder, {**recipe.network, "dropout": 0.0}, classes=4)
        set_biases(model, recipe)
        x, y = random_images(model, 8), np.arange(8) % 4
        labels = np.eye(4, dtype="float32")[y] if recipe.soft_labels else y
        rate = share * recipe.learning_rate
        compile_model(model, recipe.replace(warmup_steps=0, learning_rate=rate, epochs=12, moving_average=None), 1)
        history = model.fit(x, targets(model, labels), epochs=12, batch_size=8, verbose=0).history["loss"]
        assert np.isfinite(history).all()
        falls.append(min(history[-3:]) < history[0])
        if falls[-1]:
            return
    raise AssertionError(falls)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: recipes.get_recipe("nin-digit"), "Did you mean 'nin-digits'"),
        (lambda: recipes.get_recipe("nin-digits", "NiNImageNet"), "is for NiN; for NiNImageNet choose another"),
        (
            lambda: recipes.Recipe("r", optimizer="adam"),
            "`optimizer` must be one of sgd, adamw, rmsprop. Did you mean 'adamw'",
        ),
        (lambda: recipes.Recipe("r", precision="half"), "`precision` must be one of"),
        (lambda: recipes.SHORT.replace(momentum=1.0), "`momentum` must be at least 0 and below 1"),
        (lambda: recipes.SHORT.replace(epochs=0), "`epochs` must be at least 1"),
        (lambda: recipes.SHORT.replace(schedule="plateau"), "a rate that waits for plateaus cannot be warmed up to"),
        (lambda: recipes.SHORT.replace(protocol="tencrop"), "Did you mean 'ten-crop'"),
        (lambda: recipes.SHORT.replace(decay_at=(0.5,), decay_factor=(0.1, 0.2)), "one for each of `decay_at`"),
    ],
)
def test_wrong_recipes_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_the_default_recipe_depends_on_network_source_and_weights():
    assert recipes.default_recipe("NiN", "digits") is recipes.NIN_DIGITS
    assert recipes.default_recipe("NiN", "digits", "mnist") is recipes.FINE_TUNING
    assert recipes.default_recipe("FCN8s", "photos/", photographs=True) is recipes.MASKS
    assert recipes.default_recipe("FCN8s", "photos/", weights="fcn16s.keras") is recipes.FINE_TUNING
    assert recipes.default_recipe("CRFasRNN", "photos/", weights="fcn8s.keras") is recipes.CRF_RNN_VOC
    assert recipes.default_recipe("NiN", "flowers", photographs=True) is recipes.PHOTOGRAPHS
    assert recipes.default_recipe("NiN", "flowers", "mnist", photographs=True) is recipes.FINE_TUNING
    assert recipes.default_recipe("NiN", "tfds:cifar10") is recipes.default_recipe("Other", "digits") is recipes.SHORT
