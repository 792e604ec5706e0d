"""Recipes: the papers' weight decay and schedules, through Keras's own optimizers."""

import json

import keras
import numpy as np
import pytest
from families import random_images, small

from keras_cnns import recipes
from keras_cnns.errors import ArgumentError
from keras_cnns.training.compilation import compile_model, learning_rate, optimizer, set_biases, targets
from keras_cnns.training.watching import callbacks


def rates(recipe, steps):
    rate = learning_rate(recipe, steps)
    return np.array([float(rate(step)) if callable(rate) else rate for step in range(steps)])


@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_weight_decay_is_the_papers(momentum):
    """1,000 steps without gradient, against a loop in which the decay passes through the momentum."""
    recipe = recipes.Recipe(
        "r", optimizer="sgd", learning_rate=0.01, momentum=momentum, weight_decay=5e-4, schedule="constant"
    )
    kernel, bias = keras.Variable(np.ones(3), name="kernel"), keras.Variable(np.ones(3), name="bias")
    made = optimizer(recipe, 1000)
    made.build([kernel, bias])
    w, velocity = 1.0, 0.0
    for _ in range(1000):
        made.apply([keras.ops.zeros(3), keras.ops.zeros(3)])
        velocity = momentum * velocity - 0.01 * 5e-4 * w
        w += velocity
    shrunk = 1 - float(kernel.numpy()[0])
    assert shrunk == pytest.approx(1 - w, rel=0.02)
    assert shrunk > 0.009  # Keras's own meaning would give .005
    np.testing.assert_array_equal(bias.numpy(), np.ones(3, "float32"))


@pytest.mark.slow
def test_weight_decay_with_gradients_stays_near_the_papers():
    """A quadratic loss: both must settle at its minimum with the L2 term added."""
    recipe = recipes.Recipe("r", optimizer="sgd", learning_rate=0.01, weight_decay=0.05, schedule="constant")
    kernel = keras.Variable(np.zeros(1), name="kernel")
    made = optimizer(recipe, 3000)
    made.build([kernel])
    w, velocity = 0.0, 0.0
    for _ in range(3000):
        made.apply([kernel.value - 1.0])  # the gradient of (w - 1)^2 / 2
        velocity = 0.9 * velocity - 0.01 * ((w - 1.0) + 0.05 * w)
        w += velocity
    assert w == pytest.approx(1 / 1.05, rel=1e-4) and float(kernel.numpy()[0]) == pytest.approx(w, rel=5e-3)


def test_a_recipe_without_decay_or_with_adamw():
    assert not optimizer(recipes.Recipe("r", optimizer="sgd", schedule="constant"), 10).weight_decay
    assert optimizer(recipes.SHORT, 10).weight_decay == recipes.SHORT.weight_decay


def test_cosine_rises_and_falls_to_zero():
    recipe = recipes.Recipe("r", learning_rate=0.1, schedule="cosine", warmup_steps=20)
    values = rates(recipe, 100)
    assert values[0] == 0 and values[20] == pytest.approx(0.1) and values.argmax() == 20
    expected = 0.05 * (1 + np.cos(np.pi * np.arange(80) / 80))
    np.testing.assert_allclose(values[20:], expected, rtol=1e-4, atol=1e-6)
    assert rates(recipe.replace(warmup_steps=0), 100)[0] == pytest.approx(0.1)


def test_steps_divide_at_shares_of_the_training():
    recipe = recipes.Recipe("r", learning_rate=0.1, schedule="step", decay_at=(0.5, 0.75), warmup_steps=20)
    values = rates(recipe, 200)
    assert (np.diff(values[:21]) >= 0).all() and values[0] == pytest.approx(0.1 / 11)
    assert values[30] == values[100] == pytest.approx(0.1)
    assert values[101] == pytest.approx(0.01) and values[199] == pytest.approx(0.001)
    flat = recipe.replace(schedule="constant", warmup_steps=0)
    assert set(rates(flat, 50)) == {0.1}


@pytest.mark.parametrize("warmup", [1, 5, 9, 20])
def test_short_warm_ups_rise_too(warmup):
    values = rates(recipes.Recipe("r", learning_rate=0.1, schedule="constant", warmup_steps=warmup), 100)
    assert values[0] < 0.1 and (np.diff(values[: warmup + 1]) >= 0).all()
    assert (values[warmup:] == values[-1]).all() and values[-1] == pytest.approx(0.1)


def test_a_warm_up_longer_than_the_training_ends_halfway():
    for schedule in ("cosine", "step", "constant"):
        values = rates(recipes.Recipe("r", learning_rate=0.1, schedule=schedule, warmup_steps=500), 40)
        assert values.max() == pytest.approx(0.1) and np.isfinite(values).all()


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=lambda r: r.name)
def test_recipes_are_frozen_and_go_through_json(recipe):
    again = recipes.Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again.to_json() == recipe.to_json() and again.network == recipe.network
    with pytest.raises(AttributeError):
        recipe.epochs = 3
    with pytest.raises(TypeError):
        recipe.network["variant"] = "svhn"


def with_slow(found):
    """Recipes, those of deep networks as slow tests, and those much like another one."""
    deep = ("inception", "resnet-v2", "resnet-modern", "resnet-imagenet", "googlenet", "vgg", "zfnet", "caffenet")
    deep += ("alexnet-one", "alexnet-imagenet", "maxout-cifar10", "nin-cifar10", "nin-imagenet", "resnet-cifar10")
    alike = (
        "nin-fashion-mnist",
        "nin-modern-again",
        "fine-tuning",
        "nin-digits",
        "nin-mnist",
        "nin-modern",
        "lenet5-m",
    )
    return [pytest.param(one, marks=[pytest.mark.slow] if one.name.startswith(deep + alike) else []) for one in found]


@pytest.mark.parametrize("recipe", with_slow(recipes.RECIPES.values()), ids=lambda r: r.name)
def test_recipes_fit_their_networks(recipe):
    """Every builder takes the recipe's options, has the layers whose biases it sets, and as many heads as it weighs."""
    from keras_cnns.data.geometry import AUGMENTATIONS
    from keras_cnns.data.statistics import PREPROCESSINGS

    assert recipe.augmentation in AUGMENTATIONS and recipe.preprocessing in PREPROCESSINGS
    for builder in recipe.builders:
        model = small(builder, dict(recipe.network), classes=4)
        set_biases(model, recipe)
        for name, value in recipe.biases.items():
            assert set(np.asarray(model.get_layer(name).bias)) == {np.float32(value)}
        assert (len(model.outputs) > 1) == (recipe.auxiliary_weight > 0)
        assert recipes.get_recipe(recipe.name, builder) is recipe


def test_every_network_has_its_papers_recipe():
    from keras_cnns import applications

    told = {name for recipe in recipes.PAPERS for name in recipe.builders}
    assert told == set(applications._BUILDERS)
    assert len({recipe.name for recipe in (*recipes.MODERN, *recipes.PAPERS)}) == len(recipes.RECIPES)


def test_biases_of_layers_that_are_not_there():
    recipe = recipes.ALEXNET_IMAGENET
    with pytest.raises(ArgumentError, match="nin has no biases in a layer 'conv4', as the recipe alexnet-imagenet has"):
        set_biases(small("NiN", {}), recipe)


def test_the_other_schedules():
    base = recipes.Recipe("r", optimizer="sgd", learning_rate=0.1, epochs=10)
    linear = rates(base.replace(schedule="polynomial"), 100)
    np.testing.assert_allclose(linear, 0.1 * (1 - np.arange(100) / 100), rtol=1e-5)
    stairs = rates(base.replace(schedule="exponential", decay_factor=0.94, decay_epochs=2), 100)
    np.testing.assert_allclose(stairs, 0.1 * 0.94 ** (np.arange(100) // 20), rtol=1e-5)
    caffe = rates(base.replace(schedule="inverse", gamma=1e-4, power=0.75), 100)
    np.testing.assert_allclose(caffe, 0.1 * (1 + 1e-4 * np.arange(100)) ** -0.75, rtol=1e-5)
    own = base.replace(schedule="step", decay_at=(0.2, 0.5), decay_factor=(0.4, 0.02))
    np.testing.assert_allclose(rates(own, 100)[[20, 21, 50, 51]], [0.1, 0.04, 0.04, 0.002], rtol=1e-5)
    plateau = base.replace(schedule="plateau", patience=3)
    (callback,) = (one for one in callbacks(None, plateau) if isinstance(one, keras.callbacks.ReduceLROnPlateau))
    assert rates(plateau, 5)[0] == 0.1 and (callback.factor, callback.patience) == (0.1, 3)
    assert len(callbacks(None, base)) == len(callbacks(None, plateau)) - 1


def test_a_schedule_of_ours_is_saved_with_its_model(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "softmax")])
    compile_model(model, recipes.LENET5_MODERN_MNIST, 10)
    model.fit(np.ones((4, 2)), np.zeros(4), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert float(again.learning_rate) == pytest.approx(float(model.optimizer.learning_rate))


def test_rmsprop_with_clipping_and_a_moving_average():
    made = optimizer(recipes.INCEPTION_V3_IMAGENET, 100)
    assert (made.rho, made.momentum, made.epsilon) == (0.9, 0.9, 1.0)
    assert made.global_clipnorm == 2.0 and made.use_ema and made.ema_momentum == 0.9999
    # What is left after a training is the mean of the weights, and not the last ones
    recipe = recipes.Recipe("r", "x", optimizer="sgd", learning_rate=1.0, schedule="constant", moving_average=0.5)
    kernel = keras.Variable(np.zeros(1), name="kernel")
    made = optimizer(recipe.replace(momentum=0.0), 3)
    made.build([kernel])
    mean = 1.0  # Keras's starts from the weights after the first step
    for step in range(3):
        made.apply([keras.ops.convert_to_tensor([-1.0])])
        mean = 0.5 * mean + 0.5 * (step + 1)
    made.finalize_variable_values([kernel])
    assert float(kernel.numpy()[0]) == pytest.approx(mean)


def test_losses_are_the_recipes():
    """Smoothed labels and weighted heads, against plain NumPy."""
    x = keras.Input((5,))
    first = keras.layers.Dense(3, "softmax", name="predictions")(x)
    side = keras.layers.Dense(3, "softmax", name="loss1_predictions")(x)
    model = keras.Model(x, [first, side])
    recipe = recipes.Recipe("r", label_smoothing=0.1, auxiliary_weight=0.3, epochs=1)
    compile_model(model, recipe, 1)
    inputs, labels = np.random.default_rng(0).normal(size=(8, 5)).astype("float32"), np.eye(3)[np.arange(8) % 3]
    found = model.evaluate(inputs, targets(model, labels), verbose=0, return_dict=True)
    smooth = 0.9 * labels + 0.1 / 3
    expected = [-(smooth * np.log(out)).sum(1).mean() for out in model.predict(inputs, verbose=0)]
    assert found["loss"] == pytest.approx(expected[0] + 0.3 * expected[1], rel=1e-5)
    right = (model.predict(inputs, verbose=0)[0].argmax(1) == labels.argmax(1)).mean()
    assert found["predictions_accuracy"] == pytest.approx(right)


@pytest.mark.parametrize("recipe", with_slow(recipes.RECIPES.values()), ids=lambda r: r.name)
def test_every_recipe_lowers_the_loss(recipe):
    """A few steps on a fixed batch, at a small size: finite always, and lower at a tenth or a 500th of the rate.

    The papers' rates are for hundreds of images a step; on eight, momentum overshoots in some networks, and those
    that start from tiny weights hardly move at less.
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
def test_wrong_recipes_are_named(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_the_default_recipe():
    assert recipes.default_recipe("NiN", "digits") is recipes.NIN_DIGITS
    assert recipes.default_recipe("NiN", "digits", "mnist") is recipes.FINE_TUNING
    assert recipes.default_recipe("NiN", "flowers", photographs=True) is recipes.PHOTOGRAPHS
    assert recipes.default_recipe("NiN", "flowers", "mnist", photographs=True) is recipes.FINE_TUNING
    assert recipes.default_recipe("NiN", "tfds:cifar10") is recipes.default_recipe("Other", "digits") is recipes.SHORT
