"""Recipes: the papers' weight decay and schedules, through Keras's own optimizers."""

import json

import keras
import numpy as np
import pytest

from keras_cnns import recipes
from keras_cnns.errors import ArgumentError
from keras_cnns.training.compilation import learning_rate, optimizer


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
    if recipe.builder:
        from keras_cnns import applications

        assert applications.create_model(recipe.builder, **recipe.network).name


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: recipes.get_recipe("nin-digit"), "Did you mean 'nin-digits'"),
        (lambda: recipes.get_recipe("nin-digits", "NiNImageNet"), "is for NiN; for NiNImageNet choose another"),
        (lambda: recipes.Recipe("r", optimizer="adam"), "`optimizer` must be one of sgd, adamw. Did you mean 'adamw'"),
        (lambda: recipes.Recipe("r", precision="half"), "`precision` must be one of"),
        (lambda: recipes.SHORT.replace(momentum=1.0), "`momentum` must be at least 0 and below 1"),
        (lambda: recipes.SHORT.replace(epochs=0), "`epochs` must be at least 1"),
    ],
)
def test_wrong_recipes_are_named(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_the_default_recipe():
    assert recipes.default_recipe("NiN", "digits") is recipes.NIN_DIGITS
    assert recipes.default_recipe("NiN", "tfds:cifar10") is recipes.default_recipe("Other", "digits") is recipes.SHORT
