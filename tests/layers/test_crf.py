"""Mean-field inference, compared with its definition pixel by pixel."""

import keras
import numpy as np
import pytest

from keras_cnns import analysis, saving
from keras_cnns.layers import DenseCRF

SMALL = {"position_std": 2.0, "color_std": 60.0, "spatial_std": 1.5}


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def mean_field(scores, image, layer):
    """Return the refined scores of one image by the sums of the definition, in float64."""
    scores, image = scores.astype("float64"), image.astype("float64")
    matrices = {name: np.asarray(getattr(layer, name)) for name in ("spatial", "bilateral", "compatibility")}
    pixels = list(np.ndindex(scores.shape[:2]))
    refined = scores
    for _ in range(layer.iterations):
        probabilities, messages = softmax(refined), np.zeros(scores.shape)
        for here in pixels:
            for kind, width in (("spatial", layer.spatial_std), ("bilateral", layer.position_std)):
                message, total = 0.0, 0.0
                for there in pixels:
                    energy = sum((a - b) ** 2 for a, b in zip(here, there, strict=True)) / width**2
                    if kind == "bilateral":
                        energy += ((image[here] - image[there]) ** 2).sum() / layer.color_std**2
                    weight = np.exp(-energy / 2)
                    message, total = message + weight * probabilities[there], total + weight
                messages[here] += message / total @ matrices[kind]
        refined = scores - messages @ matrices["compatibility"]
    return refined


def inputs(height=5, width=6, classes=3, batch=2, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(batch, height, width, classes)), random.uniform(0, 255, (batch, height, width, 3))


def layer_with_random_matrices(dtype="float32", classes=3, **options):
    layer = DenseCRF(dtype=dtype, **SMALL, **options)
    layer.build([(None, 5, 6, classes), (None, 5, 6, 3)])
    layer.set_weights([np.random.default_rng(k).normal(size=(classes, classes)) for k in range(3)])
    return layer


@pytest.mark.parametrize("iterations", [1, 3])
def test_it_equals_the_sums_over_all_pixels(iterations):
    scores, images = inputs()
    layer = layer_with_random_matrices("float64", iterations=iterations)
    expected = [mean_field(*pair, layer) for pair in zip(scores, images, strict=True)]
    np.testing.assert_allclose(layer([scores, images]), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.kernels
def test_float32_is_close_to_float64_at_the_papers_widths():
    """A color's width of 3 makes kernel exponents of thousands, which rounding must not spoil."""
    scores, images = inputs(16, 16, 21)
    images = np.round(images / 8) * 8
    double = DenseCRF(dtype="float64")([scores, images])
    np.testing.assert_allclose(DenseCRF()([scores, images]), double, rtol=1e-4, atol=1e-4)


def test_the_first_matrices_are_the_references():
    """crfasrnn's files spatial.par and bilateral.par hold 3 and 5; Potts has -1."""
    layer = DenseCRF()
    layer.build([(None, 8, 8, 21), (None, 8, 8, 3)])
    assert layer.count_params() == 1_323
    for weight, diagonal in zip(layer.weights, (3, 5, -1), strict=True):
        np.testing.assert_array_equal(weight, diagonal * np.eye(21))


def test_gradients_equal_finite_differences():
    import tensorflow as tf

    scores, images = inputs(batch=1)
    layer = layer_with_random_matrices("float64", iterations=2)
    weight = np.random.default_rng(9).normal(size=scores.shape)
    values = [scores, *layer.get_weights()]

    def loss(values):
        layer.set_weights(values[1:])
        return float(tf.reduce_sum(weight * layer([values[0], images])))

    variable = tf.Variable(scores)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(weight * layer([variable, images]))
    gradients = tape.gradient(total, [variable, *(weight.value for weight in layer.trainable_weights)])
    for k, gradient in enumerate(gradients):
        gradient = gradient.numpy()
        for place in list(np.ndindex(gradient.shape))[:: max(1, gradient.size // 9)]:
            moved = [[value.copy() for value in values] for _ in range(2)]
            moved[0][k][place] += 1e-5
            moved[1][k][place] -= 1e-5
            slope = (loss(moved[0]) - loss(moved[1])) / 2e-5
            assert slope == pytest.approx(gradient[place], rel=1e-6, abs=1e-8)
    layer.set_weights(values[1:])


def test_the_image_gets_no_gradient():
    import tensorflow as tf

    scores, images = inputs()
    variable = tf.Variable(images)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(DenseCRF(**SMALL)([scores, variable]))
    assert tape.gradient(total, variable) is None


def shapes(seed):
    """Return an image of 32x32 pixels with three colored shapes and its mask with four classes."""
    random = np.random.default_rng(seed)
    colors = np.array([(40, 40, 40), (200, 60, 60), (60, 200, 60), (60, 60, 200)])
    mask = np.zeros((32, 32), int)
    y, x = np.mgrid[:32, :32]
    for label in (1, 2, 3):
        top, left = random.integers(2, 18, 2)
        if label == 1:
            mask[(y - top - 6) ** 2 + (x - left - 6) ** 2 <= 36] = label
        else:
            mask[top : top + 11, left : left + 11] = label
    image = colors[mask] + random.normal(0, 6, (32, 32, 3))
    return np.clip(image, 0, 255), mask


def mean_iou(predicted, mask):
    shares = [
        ((predicted == label) & (mask == label)).sum() / ((predicted == label) | (mask == label)).sum()
        for label in np.unique(mask)
    ]
    return np.mean(shares)


def test_it_repairs_noisy_scores_by_the_image_and_not_by_another_one():
    layer = DenseCRF(position_std=12.0, color_std=20.0, spatial_std=1.0, bilateral_weight=8.0, spatial_weight=1.0)
    before, right, wrong = [], [], []
    for seed in range(3):
        image, mask = shapes(seed)
        other, _ = shapes(seed + 50)
        scores = 1.6 * np.eye(4)[mask] + np.random.default_rng(seed).normal(0, 1, (32, 32, 4))
        before.append(mean_iou(scores.argmax(-1), mask))
        for guide, results in ((image, right), (other, wrong)):
            refined = np.asarray(layer([scores[None], guide[None]]))[0]
            results.append(mean_iou(refined.argmax(-1), mask))
    assert np.mean(wrong) < np.mean(before) < 0.6 and np.mean(right) > 0.95


def test_any_size_and_saved_files():
    """The matrices do not depend on the size, and the file keeps the widths."""
    scores, images = keras.Input((None, None, 3)), keras.Input((None, None, 3))
    model = keras.Model([scores, images], DenseCRF(iterations=2, name="crf", **SMALL)([scores, images]))
    data = [value.astype("float32") for value in inputs(7, 4)]
    expected = model.predict(data, verbose=0)
    assert expected.shape == (2, 7, 4, 3)
    copy = keras.Model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    assert copy.get_layer("crf").get_config() == model.get_layer("crf").get_config()
    np.testing.assert_array_equal(copy.predict(data, verbose=0), expected)
    model.predict([value.astype("float32") for value in inputs(3, 9)], verbose=0)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float32"])
def test_it_computes_in_float32(policy):
    scores, images = inputs()
    layer = DenseCRF(dtype=policy, **SMALL)
    assert layer([scores, images]).dtype == "float32"
    np.testing.assert_allclose(layer([scores, images]), DenseCRF(**SMALL)([scores, images]))


def test_its_cost_is_that_of_filters_and_matrices():
    scores, images = keras.Input((8, 4, 3)), keras.Input((8, 4, 3))
    model = keras.Model([scores, images], DenseCRF(iterations=2)([scores, images]))
    # Per iteration and class: 32 x 32 of the bilateral filter, 32 x (8 + 4) of the spatial one; then three 3x3 matrices
    assert analysis.account(model).macs == 2 * (3 * (32 * 32 + 32 * 12) + 32 * 27)


@pytest.mark.parametrize(
    "options, message",
    [({"iterations": 0}, "iterations"), ({"color_std": 0.0}, "color_std"), ({"spatial_std": -1}, "spatial_std")],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=f"`{message}` must be positive. Received: {message}="):
        DenseCRF(**options)


@pytest.mark.parametrize("sizes", [((8, 8), (4, 8)), ((8, 8), (8, 9))])
def test_images_of_another_size_are_refused(sizes):
    scores, images = sizes
    with pytest.raises(ValueError, match="same height and width; resize"):
        DenseCRF()([np.zeros((1, *scores, 2)), np.zeros((1, *images, 3))])


def test_one_tensor_is_refused():
    with pytest.raises(ValueError, match="list of two tensors"):
        DenseCRF()(np.zeros((1, 8, 8, 2)))


@pytest.mark.slow
def test_it_trains_inside_a_model_and_exports(tmp_path):
    """A network of one convolution learns through the layer; each artifact equals the model."""
    from keras_cnns import export

    image = keras.Input((16, 16, 3))
    scores = keras.layers.Conv2D(4, 1, name="scores")(keras.layers.Rescaling(1 / 255)(image))
    refined = DenseCRF(name="crf", **SMALL)([scores, image])
    vector = keras.layers.Softmax(dtype="float32")(keras.layers.GlobalAveragePooling2D()(refined))
    model = keras.Model(image, vector, name="crf_model")
    model.compile("adam", "sparse_categorical_crossentropy")
    images = np.stack([shapes(seed)[0][::2, ::2] for seed in range(8)]).astype("float32")
    before = model.get_layer("crf").get_weights()
    model.fit(images, np.arange(8) % 4, epochs=2, verbose=0)
    assert all((old != new).any() for old, new in zip(before, model.get_layer("crf").get_weights(), strict=True))

    saving.save_model(model, tmp_path / "crf.keras")
    loaded = saving.load_model(tmp_path / "crf.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
    report = export.export_model(model, tmp_path / "exports", export.FORMATS)
    assert len(report.artifacts) == len(export.FORMATS)
