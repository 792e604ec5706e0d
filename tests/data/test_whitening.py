"""Fitted normalization: statistics of the training split alone, arithmetic, storage and export."""

import dataclasses
import json
import zipfile

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA

from keras_cnns import _archive, data, saving
from keras_cnns.data import Preprocessing, Source, fit_components, fit_preprocessing, open_source
from keras_cnns.data.splits import ArraySplit
from keras_cnns.data.statistics import PREPROCESSINGS
from keras_cnns.errors import ArgumentError, ModelFileError
from keras_cnns.export import FORMATS, Options, export_model, open_artifact


def natural(count, shape=(8, 8, 3), seed=0):
    """Return uint8 images whose neighboring pixels are correlated, like those of photographs."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(count, *shape)).cumsum(1).cumsum(2)
    return np.clip(128 + 20 * noise / noise.std() + 20 * random.normal(size=(count, 1, 1, 1)), 0, 255).astype("uint8")


@pytest.fixture(scope="module")
def split():
    images = natural(1500)
    return ArraySplit(images, np.arange(len(images)) % 3)


RECORD = Preprocessing((8, 8), 3)


@pytest.fixture(scope="module")
def fitted(split):
    return {kind: fit_preprocessing(split, RECORD, kind) for kind in PREPROCESSINGS}


def test_each_kind_matches_its_paper(split, fitted):
    pixels = split.items.astype("float64")
    expected = {
        "standardize": (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2)),
        "mean": pixels - pixels.mean((0, 1, 2)),
        "mean-image": pixels - pixels.mean(0),
        "zero-one": pixels / 255,
        "minus-one-one": pixels / 127.5 - 1,
        "lenet": -0.1 + 1.275 * pixels / 255,
    }
    for kind, values in expected.items():
        np.testing.assert_allclose(fitted[kind].normalize(split.items.astype("float32")), values, atol=1e-3)
    assert set(expected) | {"gcn-zca"} == set(PREPROCESSINGS)


def test_contrast_and_whitening_equal_a_loop(split, fitted):
    record = fitted["gcn-zca"]
    contrasted = []
    for image in split.items.astype("float64"):
        image = image - image.mean()
        contrasted.append((image / np.sqrt(10 + (image**2).mean())).ravel())
    contrasted = np.array(contrasted)
    covariance = np.cov(contrasted.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    expected = (contrasted - contrasted.mean(0)) @ (vectors / np.sqrt(values + 0.1)) @ vectors.T
    found = record.normalize(split.items.astype("float32"))
    np.testing.assert_allclose(found.reshape(len(found), -1), expected, atol=2e-3)


def test_whitened_covariance_is_the_identity(split):
    flat = split.items.reshape(len(split.items), -1).astype("float64")
    components = fit_components(flat[k : k + 100] for k in range(0, len(flat), 100))
    for whitened in (components.whiten(flat), (flat - components.mean) @ np.float64(components.zca(0.0).matrix)):
        covariance = np.cov(whitened.T, bias=True)
        assert np.abs(covariance - np.eye(len(covariance))).max() < 0.01
    # ZCA rotates back, so that each whitened value still correlates with its pixel
    rotated = (flat - components.mean) @ np.float64(components.zca(0.0).matrix)
    correlations = [np.corrcoef(rotated[:, k], flat[:, k])[0, 1] for k in range(0, 192, 17)]
    assert min(correlations) > 0.1
    np.testing.assert_allclose(components.unwhiten(components.whiten(flat)), flat, atol=1e-6)


def test_components_equal_those_of_scikit_learn(split):
    flat = split.items.reshape(len(split.items), -1).astype("float64")
    ours, theirs = fit_components([flat]).keep(20), PCA(20, svd_solver="full").fit(flat)
    np.testing.assert_allclose(ours.variances, theirs.explained_variance_ * (len(flat) - 1) / len(flat), rtol=1e-8)
    assert ours.variance_kept == pytest.approx(theirs.explained_variance_ratio_.sum())
    np.testing.assert_allclose(np.abs((ours.components * theirs.components_).sum(1)), 1, atol=1e-6)
    restored = ours.restore(ours.compress(flat))
    np.testing.assert_allclose(restored, theirs.inverse_transform(theirs.transform(flat)), atol=1e-6)
    with pytest.raises(ValueError, match="`count` must lie between 1 and 20. Received: count=144"):
        ours.keep(144)
    with pytest.raises(ValueError, match="needs at least two images"):
        fit_components([flat[:1]])


@pytest.mark.slow
def test_cifar_to_144_components(shared):
    """Reducing 3072 values to 144 keeps most of the variance of CIFAR-10."""
    import io

    from PIL import Image

    image = np.asarray(Image.open(io.BytesIO((shared / "cifar10" / "train_1.webp").read_bytes())).convert("RGB"))
    rows, columns = (side // 32 for side in image.shape[:2])
    tiles = image[: rows * 32, : columns * 32].reshape(rows, 32, columns, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
    few = fit_components([tiles[:3000]]).keep(144)
    assert few.compress(tiles[:5]).shape == (5, 144) and 0.9 < few.variance_kept < 1


@pytest.mark.parametrize("kind", PREPROCESSINGS)
def test_every_kind_of_tensor_gives_the_same_values(fitted, kind):
    import tensorflow as tf

    record, pixels = fitted[kind], natural(3, seed=5).astype("float32")
    kept = pixels.copy()
    expected = record.normalize(pixels)
    np.testing.assert_array_equal(pixels, kept)
    np.testing.assert_allclose(record.normalize(tf.constant(pixels)), expected, atol=1e-4)
    np.testing.assert_allclose(tf.function(record.normalize)(tf.constant(pixels)), expected, atol=1e-4)
    inputs = keras.Input(record.shape)
    model = keras.Model(inputs, record.normalize(inputs))
    np.testing.assert_allclose(model.predict(pixels, verbose=0), expected, atol=1e-4)
    np.testing.assert_allclose(record.normalize(pixels[0]), expected[0], atol=1e-4)
    batches = data.make_dataset(ArraySplit(pixels.astype("uint8"), np.zeros(3, "int64")), record, 2)
    np.testing.assert_allclose(np.concatenate([x for x, _ in batches.as_numpy_iterator()]), expected, atol=1e-4)


@pytest.mark.parametrize("kind", PREPROCESSINGS)
def test_statistics_do_not_depend_on_the_test_split(split, kind):
    records = []
    for seed in (1, 2):
        source = Source(
            "x", ("a", "b", "c"), (8, 8, 3), {"train": split, "test": ArraySplit(natural(9, seed=seed), [0] * 9)}
        )
        records.append(fit_preprocessing(source.split("train"), RECORD, kind))
    assert records[0] == records[1] and records[0].digests == records[1].digests


def test_records_differ_by_their_arrays(fitted):
    record = fitted["mean-image"]
    other = dataclasses.replace(record, mean_image=record.mean_image + 1)
    assert record != other and record == dataclasses.replace(record, mean_image=record.mean_image.copy())


@pytest.mark.parametrize("kind", ["standardize", "mean-image", "gcn-zca"])
def test_files_keep_the_whole_record(fitted, kind, tmp_path):
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(x)))
    info = saving.ModelInfo(class_names=("a", "b", "c"), preprocessing=fitted[kind])
    saving.save_model(model, tmp_path / "model.keras", info)
    read = saving.read_info(tmp_path / "model.keras")
    assert read == info and read.preprocessing.digests == fitted[kind].digests
    keras.saving.load_model(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert (_archive.ARRAYS in archive.namelist()) == (kind != "standardize")
        assert len(archive.read(saving.MEMBER)) < 3000  # no large array in the JSON


def test_damaged_arrays_are_named(fitted, tmp_path):
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, keras.layers.Flatten()(x))
    path = tmp_path / "model.keras"
    saving.save_model(model, path, saving.ModelInfo(preprocessing=fitted["mean-image"]))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for change, message in (
        ({_archive.ARRAYS: b"nonsense"}, "cannot be read"),
        ({_archive.ARRAYS: None}, "cannot be read"),
        ({_archive.ARRAYS: _npz(mean_image=fitted["mean-image"].mean_image + 1)}, "mean_image is not the one"),
        ({_archive.ARRAYS: _npz(other=np.zeros(3))}, "mean_image is missing"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**members, **change}.items():
                if content is not None:
                    archive.writestr(name, content)
        with pytest.raises(ModelFileError, match=f"is damaged.*{message}"):
            saving.read_info(path)


def _npz(**arrays):
    import io

    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"contrast_bias": 0.0}, "`contrast_bias` must be positive"),
        ({"mean_image": np.zeros((8, 8, 1), "float32")}, "`mean_image` must have the shape of the input"),
        ({"whitening": data.Whitening(np.zeros(5), np.eye(5))}, "`whitening` must be fitted on images of shape"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RECORD, **fields)
    with pytest.raises(ValueError, match="`matrix` must be square"):
        data.Whitening(np.zeros(5), np.eye(4))


def test_an_unknown_kind_is_refused(split):
    with pytest.raises(ArgumentError, match="Did you mean 'mean-image'"):
        fit_preprocessing(split, RECORD, "mean_image")


@pytest.fixture(scope="module")
def small_model():
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    y = keras.layers.Conv2D(8, 3, activation="relu")(x)
    return keras.Model(x, keras.layers.Dense(3, "softmax")(keras.layers.GlobalAveragePooling2D()(y)), name="small")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mean-image", "gcn-zca"])
def test_artifacts_contain_the_normalization(small_model, fitted, kind, tmp_path):
    info = saving.ModelInfo(class_names=("a", "b", "c"), preprocessing=fitted[kind])
    options = Options(bake_whitening=kind == "gcn-zca")
    report = export_model(small_model, tmp_path, FORMATS, options, info=info)
    pixels = natural(4, seed=9)
    expected = small_model.predict(fitted[kind].normalize(pixels.astype("float32")), verbose=0)
    for artifact in report.artifacts:
        np.testing.assert_allclose(open_artifact(artifact.path)(pixels)["probabilities"], expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_artifacts_take_rgb_for_a_network_that_takes_bgr(small_model, quantize, tmp_path):
    record = data.Preprocessing((8, 8), mean=(104.0, 117.0, 124.0), scale=(0.01, 0.02, 0.03), channel_order="BGR")
    info = saving.ModelInfo(class_names=("a", "b", "c"), preprocessing=record)
    formats = FORMATS if quantize == "none" else ["tflite", "onnx"]
    options = Options(quantize=quantize, calibration=None if quantize == "none" else natural(100), min_agreement=0.9)
    report = export_model(small_model, tmp_path, formats, options, info=info)
    pixels = natural(4, seed=9)
    expected = small_model.predict(record.normalize(pixels.astype("float32")).copy(), verbose=0)
    for artifact in report.artifacts:
        found = open_artifact(artifact.path)
        atol = 1e-4 if quantize == "none" else 0.03
        np.testing.assert_allclose(found(pixels)["probabilities"], expected, atol=atol)
        assert np.abs(found(pixels[..., ::-1].copy())["probabilities"] - expected).max() > 2 * atol


def test_a_mean_image_is_subtracted_in_integers(small_model, fitted, split, tmp_path):
    info = saving.ModelInfo(class_names=("a", "b", "c"), preprocessing=fitted["mean-image"])
    options = Options(quantize="int8", integer_only=True, calibration=split.items[:100], min_agreement=0.9)
    (artifact,) = export_model(small_model, tmp_path, ["tflite"], options, info=info).artifacts
    assert artifact.inputs["image"]["scale"] == 1.0 and not artifact.contents.floats


def test_whitening_is_baked_only_on_request(small_model, fitted, tmp_path):
    info = saving.ModelInfo(preprocessing=fitted["gcn-zca"])
    with pytest.raises(ArgumentError, match="takes 0.1 MB in each artifact: ask for it with --bake-whitening"):
        export_model(small_model, tmp_path, ["onnx"], info=info)
    with pytest.raises(ArgumentError, match="8 bits cannot hold a normalization of each image"):
        options = Options(quantize="int8", bake_whitening=True, calibration=natural(20))
        export_model(small_model, tmp_path, ["onnx"], options, info=info)
    export_model(small_model, tmp_path, ["onnx"], Options(preprocess=False), info=info)  # the caller whitens


def test_every_kind_stays_finite_on_digits():
    """The images are gray and mostly black, with variances near zero."""
    train = open_source("digits").split("train")
    for kind in PREPROCESSINGS:
        record = fit_preprocessing(train, Preprocessing((16, 16), 1), kind)
        assert np.isfinite(record.normalize(train.items[:50, ::2, ::2].astype("float32"))).all()
        again = Preprocessing.from_json(json.loads(json.dumps(record.to_json())), record.arrays())
        assert again == record
