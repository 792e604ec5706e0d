"""Network In Network, apart from what all networks have in common."""

import keras
import numpy as np
import pytest

from keras_cnns import applications
from keras_cnns.applications._facts import FACTS


@pytest.mark.parametrize(
    "variant, kind", [("cifar10", "Average"), ("cifar100", "Max"), ("mnist", "Max"), ("svhn", "Max")]
)
def test_the_second_pool_is_the_authors(variant, kind):
    """The Caffe file has an average, the cuda-convnet files a maximum."""
    model = applications.NiN(variant=variant, kernel_initializer="zeros")
    assert type(model.get_layer("pool2")).__name__ == f"{kind}Pooling2D" if variant != "mnist" else "CeilMaxPooling2D"


@pytest.mark.parametrize("name", ["NiN", "NiNImageNet"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_every_class_map_of_a_new_network_is_positive(name, seed):
    """With He's weights, about half of the maps start at zero."""
    keras.utils.set_random_seed(seed)
    side = max(24, FACTS[name].minimum)
    x = np.random.default_rng(seed).normal(size=(8, side, side, 3)).astype("float32")
    builder = getattr(applications, name)

    def means(**options):
        model = builder(input_shape=(side, side, 3), classes=20, **options)
        return keras.Model(model.input, model.get_layer("gap").output).predict(x, verbose=0)

    assert means().min() > 0
    assert (means(kernel_initializer="he_normal", bias_initializer="zeros") < 0.1).mean() > 0.2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"variant": "cifar"}, "`variant` must be one of.*'cifar10'.*Received: variant='cifar'"),
        ({"second_pool": "min"}, "`second_pool` must be one of None, 'average', 'max'"),
        ({"classes": 0}, "`classes` must be a whole number of at least 1. Received: classes=0"),
        ({"pooling": "mean", "include_top": False}, "`pooling` must be one of None, 'avg', 'max'"),
        ({"input_shape": 32}, r"`input_shape` must be \(height, width, channels\)"),
        ({"classes": True}, "`classes` must be a whole number"),
        ({"weights": "a.h5"}, "weights come from a .keras, .weights.h5 or .safetensors file"),
        ({"input_shape": (32, 32)}, r"`input_shape` must be of images, \(height, width, channels\)"),
        ({"weights": "digit"}, "there are cifar10, digits.*Did you mean 'digits'"),
        ({"weights": "no/such.keras"}, "there is no such weights file"),
    ],
)
def test_an_error_names_the_wrong_argument(options, message):
    with pytest.raises(ValueError, match=message):
        applications.NiN(**options)


def test_an_error_names_wrong_widths():
    with pytest.raises(ValueError, match="`widths` must be four whole numbers"):
        applications.NiNImageNet(widths=(96, 256))


def test_an_input_shape_that_contradicts_input_tensor_is_an_error():
    with pytest.raises(ValueError, match="must be that of `input_tensor`"):
        applications.NiN(input_tensor=keras.Input((32, 32, 3)), input_shape=(28, 28, 3))


@pytest.mark.slow
def test_nin_predicts_and_trains_under_jax(python, tmp_path):
    done = python(
        """
import numpy as np, keras, sys
from keras_cnns import applications, saving
x = np.random.default_rng(0).normal(size=(4, 32, 32, 1)).astype("float32")
model = applications.NiN(weights="digits")
np.save(sys.argv[1], model.predict(x, verbose=0))
fresh = applications.NiN(input_shape=(33, 32, 1), classes=3, dropout=0.0)
fresh.compile("adam", "sparse_categorical_crossentropy")
z = np.random.default_rng(0).normal(size=(4, 33, 32, 1))
losses = fresh.fit(z, np.arange(4) % 3, epochs=8, verbose=0).history["loss"]
assert losses[-1] < losses[0], losses
assert "tensorflow" not in sys.modules
print(keras.backend.backend())
""",
        out := tmp_path / "jax.npy",
        KERAS_BACKEND="jax",
    )
    assert done.stdout.strip() == "jax", done.stderr
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 1)).astype("float32")
    ours = applications.NiN(weights="digits").predict(x, verbose=0)
    np.testing.assert_allclose(np.load(out), ours, atol=1e-5)
