"""Weights from files of the user, and files that do not fit."""

import warnings

import h5py
import keras
import numpy as np
import pytest
from families import randomize
from safetensors.numpy import save_file

from keras_cnns import applications
from keras_cnns.errors import ArgumentError, ModelFileError
from keras_cnns.saving import ModelInfo, save_model

# Together: batch normalization, our own layers, split convolutions, a classifier that computes distances
NETWORKS = [
    ("LeNet5", {}),
    ("NiN", {"variant": "mnist"}),
    ("Maxout", {"variant": "mnist"}),
    ("AlexNet", {"input_shape": (67, 67, 3)}),
    ("GoogLeNet", {"input_shape": (64, 64, 3)}),
    ("ResNet20", {}),
]
SLOW = ("AlexNet", "GoogLeNet")
KINDS = ("keras", "weights.h5", "safetensors")


def write(model, path):
    """Write a model's weights in the format of the file name."""
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.suffix == ".safetensors":
        save_file({weight.path: np.asarray(weight) for weight in model.weights}, path)
    else:
        model.save(path)
    return path


def assert_equal_weights(model, other, but=()):
    """Check that all weights are equal but those of some layers."""
    for weight, expected in zip(model.weights, other.weights, strict=True):
        equal = weight.shape == expected.shape and np.array_equal(weight, expected)
        assert equal != (weight.path.split("/")[0] in but), weight.path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name, options",
    [pytest.param(*case, marks=[pytest.mark.slow] if case[0] in SLOW else [], id=case[0]) for case in NETWORKS],
)
def test_a_file_of_each_kind_is_loaded(name, options, kind, tmp_path):
    source = applications.create_model(name, **options)
    randomize(source)
    path = write(source, tmp_path / f"mine.{kind}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = applications.create_model(name, weights=path, **options)
    assert_equal_weights(model, source)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_without_top_takes_weights_of_the_whole_network(kind, tmp_path):
    source = applications.ResNet20()
    path = write(source, tmp_path / f"mine.{kind}")
    body = applications.ResNet20(include_top=False, weights=path, input_shape=(None, None, 3))
    paths = {weight.path for weight in body.weights}
    for weight, expected in zip(body.weights, [w for w in source.weights if w.path in paths], strict=True):
        np.testing.assert_array_equal(weight, expected)
    body_path = write(body, tmp_path / f"body.{kind}")
    with pytest.raises(ArgumentError, match="do not fit the network: missing there: .*fc"):
        applications.ResNet20(weights=body_path)
    if kind != "keras":  # a .keras file must have the pool before the classifier too
        with pytest.warns(UserWarning, match="fc must be trained from scratch"):
            applications.ResNet20(weights=body_path, classes=3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["NiN", "ResNet20"])
def test_with_other_classes_all_but_the_classifier_is_loaded(name, kind, tmp_path):
    """A warning names the classifier."""
    options, head = ({"variant": "mnist"}, "cccp6") if name == "NiN" else ({}, "fc")
    source = applications.create_model(name, classes=6, **options)
    randomize(source)
    path = write(source, tmp_path / f"six.{kind}")
    with pytest.warns(UserWarning, match=f"{name}: the weights .*{head} must be trained from scratch"):
        model = applications.create_model(name, weights=path, classes=4, **options)
    assert model.output_shape == (None, 4)
    assert_equal_weights(model, source, but=[head])
    with pytest.raises(ArgumentError, match=rf"{head} has .*the classes that they were trained with"):
        applications.create_model(name, weights=path, **options)


def test_classes_may_differ_from_those_of_the_record(tmp_path):
    info = ModelInfo(builder="ResNet20", network={"classes": 6, "input_shape": (32, 32, 3)})
    save_model(applications.ResNet20(classes=6), tmp_path / "six.keras", info)
    assert applications.ResNet20(weights=tmp_path / "six.keras").output_shape == (None, 6)
    with pytest.warns(UserWarning, match="fc must be trained from scratch; all other layers are loaded"):
        model = applications.ResNet20(weights=tmp_path / "six.keras", classes=3)
    assert model.output_shape == (None, 3)


def test_classes_may_differ_from_those_of_shipped_weights():
    with pytest.warns(UserWarning, match="'digits' have no classifier for these classes: cccp6") as caught:
        model = applications.NiN(weights="digits", classes=26)
    assert caught[0].filename == __file__
    digits = applications.NiN(weights="digits")
    assert_equal_weights(model, digits, but=["cccp6"])
    codes = np.random.default_rng(0).choice([-1.0, 1.0], (4, 84))  # codes are not trained
    with pytest.warns(UserWarning, match="rbf must be trained from scratch"):
        model = applications.LeNet5(weights="mnist", classes=4, codes=codes)
    assert (np.asarray(model.get_layer("rbf").codes) == codes).all()
    with pytest.warns(UserWarning), pytest.raises(ArgumentError, match=r"`codes` must be given .*\(4, 84\)"):
        applications.LeNet5(weights="mnist", classes=4)


@pytest.mark.slow
def test_auxiliary_heads_are_new_with_the_classifier(tmp_path):
    options = {"auxiliary": True, "input_shape": (96, 96, 3)}
    path = write(applications.GoogLeNet(classes=6, **options), tmp_path / "six.keras")
    with pytest.warns(UserWarning) as caught:
        applications.GoogLeNet(weights=path, classes=3, **options)
    message = str(caught[0].message)
    assert all(head in message for head in ("loss1_classifier", "loss2_classifier", "loss3_classifier")), message
    assert "conv" not in message and "fc" not in message


def test_one_message_lists_everything_that_does_not_fit(tmp_path):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, name="conv1")(inputs)
    x = keras.layers.Conv2D(96, 1, name="other")(x)
    path = write(keras.Model(inputs, x), tmp_path / "foreign.weights.h5")
    with pytest.raises(ArgumentError) as caught:
        applications.NiN(weights=path)
    message = str(caught.value)
    assert "missing there: cccp1, cccp2, conv2, cccp3 and 4 more; left over there: other; " in message
    assert "of other shapes: conv1 has (3, 3, 3, 8) (8,), here (5, 5, 3, 192) (192,)" in message
    assert message.endswith(f"Received: weights={str(path)!r}")


@pytest.mark.parametrize("kind", ["link", "external", "virtual"])
def test_weights_from_another_file_are_refused(kind, tmp_path):
    """An HDF5 file can refer to any file of the machine that reads it."""
    secret = tmp_path / "secret.h5"
    path = write(applications.LeNet5Modern(), tmp_path / "mine.weights.h5")
    with h5py.File(path, "a") as file, h5py.File(secret, "w") as other:
        variables = next(group["vars"] for group in file["layers"].values() if len(group.get("vars", ())))
        name, values = variables.attrs["name"], np.asarray(variables["0"])
        other["kernel"] = values
        del variables["0"]
        if kind == "link":
            variables["0"] = h5py.ExternalLink(secret, "kernel")
        elif kind == "external":
            values.tofile(tmp_path / "secret.raw")
            raw = [(str(tmp_path / "secret.raw"), 0, values.nbytes)]
            variables.create_dataset("0", values.shape, values.dtype, external=raw)
        else:
            layout = h5py.VirtualLayout(values.shape, values.dtype)
            layout[...] = h5py.VirtualSource(secret, "kernel", values.shape)
            variables.create_virtual_dataset("0", layout)
    with pytest.raises(ModelFileError, match=f"takes the weights of {name} from another file"):
        applications.LeNet5Modern(weights=path)


@pytest.mark.parametrize("kind", ["weights.h5", "safetensors"])
def test_damaged_files_are_errors(kind, tmp_path):
    path = write(applications.NiN(variant="mnist"), tmp_path / f"mine.{kind}")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ModelFileError, match="mine.*cannot be read as .*Copy or save it again"):
        applications.NiN(weights=path, variant="mnist")
    path.write_bytes(b"")
    with pytest.raises(ModelFileError, match="cannot be read as"):
        applications.NiN(weights=path, variant="mnist")


def test_files_of_another_kind_are_errors(tmp_path):
    old = tmp_path / "old.weights.h5"
    with h5py.File(old, "w") as file:
        file.attrs["layer_names"] = ["conv1"]
        file["conv1/kernel:0"] = np.zeros((5, 5, 3, 192))
    with pytest.raises(ModelFileError, match="holds no weights as Keras 3 saves them. Save them again"):
        applications.NiN(weights=old)
    save_file({"conv1.weight": np.zeros((192, 3, 5, 5), "float32")}, tmp_path / "torch.safetensors")
    with pytest.raises(ModelFileError, match="Name tensors as Keras does, .*'conv1/kernel'"):
        applications.NiN(weights=tmp_path / "torch.safetensors")
    save_file({"conv1/weight": np.zeros((5, 5, 3, 192), "float32")}, tmp_path / "names.safetensors")
    with pytest.raises(ModelFileError, match="has weight for the layer conv1, whose weights are kernel, bias"):
        applications.NiN(weights=tmp_path / "names.safetensors")
    (tmp_path / "model.h5").write_bytes(b"")
    with pytest.raises(ArgumentError, match="from a .keras, .weights.h5 or .safetensors file"):
        applications.NiN(weights=tmp_path / "model.h5")
    with pytest.raises(ArgumentError, match="there is no such weights file"):
        applications.NiN(weights=tmp_path / "none.safetensors")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_files_with_16_bit_floats_are_loaded(dtype, tmp_path):
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    source = applications.ResNet20()
    rounded = {weight.path: np.asarray(weight).astype(kind) for weight in source.weights}
    save_file(rounded, tmp_path / "short.safetensors")
    model = applications.ResNet20(weights=tmp_path / "short.safetensors")
    for weight in model.weights:
        np.testing.assert_array_equal(weight, rounded[weight.path].astype("float32"))
