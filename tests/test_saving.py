"""The model file: its record, plain Keras, and damaged or hostile files."""

import dataclasses
import json
import zipfile
from unittest import mock

import keras
import numpy as np
import pytest

from keras_cnns import applications
from keras_cnns.data import Preprocessing
from keras_cnns.errors import ModelFileError, OutputError, OutputExistsError
from keras_cnns.layers import BatchNormalization, CeilMaxPooling2D
from keras_cnns.saving import MEMBER, ModelInfo, check_info, load_model, read_info, save_model

INFO = ModelInfo(
    class_names=("Hund", "猫"),
    preprocessing=Preprocessing((9, 9), 3, mean=(1.0, 2.0, 3.0), scale=(0.1,)),
    recipe={"name": "short"},
    data={"source": "digits"},
    metrics={"test": {"examples": 3, "top1": 1.0}},
)


def small_model():
    inputs = keras.Input((9, 9, 3))
    x = keras.layers.Conv2D(2, 3, activation="relu", name="conv1")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="dense")(x), name="small")


@pytest.fixture
def model():
    return small_model()


@pytest.fixture
def file(model, tmp_path):
    save_model(model, tmp_path / "model.keras", INFO)
    return tmp_path / "model.keras"


def rewrite(path, **members):
    """Replace members of the archive."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents |= members
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)


def test_the_file_carries_model_and_record(model, file):
    x = np.random.default_rng(0).normal(size=(4, 9, 9, 3)).astype("float32")
    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(load_model(file).predict(x, verbose=0), expected)
    np.testing.assert_array_equal(keras.saving.load_model(file).predict(x, verbose=0), expected)
    assert read_info(file) == INFO
    assert list(file.parent.iterdir()) == [file]


def test_the_record_of_named_weights_can_be_saved(tmp_path):
    """`weights_info` returns a record that also knows its file."""
    info = applications.weights_info("NiN", "digits")
    save_model(applications.NiN(weights="digits"), tmp_path / "copy.keras", info)
    copy = read_info(tmp_path / "copy.keras")
    assert copy.to_json() == info.to_json() and copy.preprocessing == info.preprocessing


def test_a_compiled_model_is_saved_without_its_optimizer(model, tmp_path):
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.zeros((4, 9, 9, 3)), np.zeros(4), verbose=0)
    save_model(model, tmp_path / "ours.keras")
    model.save(tmp_path / "theirs.keras")
    assert (tmp_path / "ours.keras").stat().st_size < (tmp_path / "theirs.keras").stat().st_size
    assert model.optimizer is not None


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_files_of_plain_keras_are_read(model, tmp_path):
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.save(tmp_path / "plain.keras")
    assert read_info(tmp_path / "plain.keras") is None
    assert load_model(tmp_path / "plain.keras", compile=True).optimizer.get_config()["beta_1"] == 0.9


@pytest.mark.slow
def test_a_file_with_our_layers_loads_in_a_fresh_process(tmp_path, python):
    inputs = keras.Input((None, None, 3))
    save_model(keras.Model(inputs, CeilMaxPooling2D(3, 2)(inputs)), tmp_path / "ours.keras")
    done = python(
        "import sys; from keras_cnns.saving import load_model; print(load_model(sys.argv[1]).layers[1].name)",
        tmp_path / "ours.keras",
    )
    assert "ceil_max_pooling2d" in done.stdout, done.stderr


def normalized_model():
    """Build and train a model with our batch normalization, also nested."""
    inner = keras.Sequential([keras.Input((4, 4, 2)), BatchNormalization(momentum=0.7, name="inner_bn")], name="inner")
    inputs = keras.Input((6, 6, 3))
    x = BatchNormalization(epsilon=1e-5, scale=False, name="bn")(keras.layers.Conv2D(2, 3, name="conv")(inputs))
    x = keras.layers.GlobalAveragePooling2D()(inner(x))
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax", name="dense")(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.train_on_batch(np.random.default_rng(0).normal(2, 3, (8, 6, 6, 3)).astype("float32"), np.arange(8) % 2)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("save", ["save_model", "model.save"])
def test_our_batch_normalization_is_read_by_keras_alone_and_comes_back_fast(save, tmp_path, python):
    model, path = normalized_model(), tmp_path / "normalized.keras"
    save_model(model, path) if save == "save_model" else model.save(path)
    with zipfile.ZipFile(path) as archive:
        assert "keras_cnns" not in archive.read("config.json").decode()
    x = np.random.default_rng(1).normal(size=(5, 6, 6, 3)).astype("float32")
    expected = model.predict(x, verbose=0)
    np.save(tmp_path / "x.npy", x)
    done = python(
        """
import sys, numpy as np, keras
model = keras.saving.load_model(sys.argv[1] + "/normalized.keras", compile=False)
kinds = {type(layer) for layer in (model.get_layer("bn"), model.get_layer("inner").layers[0])}
assert kinds == {keras.layers.BatchNormalization}, kinds
np.save(sys.argv[1] + "/y.npy", model.predict(np.load(sys.argv[1] + "/x.npy"), verbose=0))
assert not [name for name in sys.modules if name.startswith("keras_cnns")]
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)

    ours = load_model(path)
    layers = ours.get_layer("bn"), ours.get_layer("inner").layers[0]
    assert [type(layer) for layer in layers] == [BatchNormalization] * 2
    assert (layers[0].epsilon, layers[1].momentum) == (1e-5, 0.7)
    own = keras.saving.load_model(path)
    assert type(own.get_layer("bn")) is keras.layers.BatchNormalization
    assert [weight.path for weight in ours.weights] == [weight.path for weight in own.weights]
    np.testing.assert_array_equal(ours.predict(x, verbose=0), expected)


def test_a_loaded_batch_normalization_trains_on_as_compiled(tmp_path):
    """The fast class takes over the state of Keras's layer."""
    model = normalized_model()
    own = type(model).from_config(model.get_config())
    own.set_weights(model.get_weights())
    own.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    x, y = np.random.default_rng(2).normal(1, 2, (8, 6, 6, 3)).astype("float32"), np.arange(8) % 2
    own.train_on_batch(x, y)
    own.save(tmp_path / "own.keras")
    ours = load_model(tmp_path / "own.keras", compile=True)
    assert type(own.get_layer("bn")) is keras.layers.BatchNormalization
    assert type(ours.get_layer("bn")) is BatchNormalization
    for _ in range(3):
        np.testing.assert_allclose(ours.train_on_batch(x, y), own.train_on_batch(x, y), rtol=1e-5)
    for mine, theirs in zip(ours.weights, own.weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6, err_msg=mine.path)


def test_reading_the_record_does_not_import_keras(file, python):
    done = python(
        "import sys; from keras_cnns.saving import read_info; print(read_info(sys.argv[1]).class_names[0]);"
        "assert not {'keras', 'tensorflow', 'numpy'} & set(sys.modules)",
        file,
    )
    assert done.stdout.strip() == "Hund", done.stderr


def refused(path, load=load_model):
    with pytest.raises(ModelFileError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and text.endswith(".") and "\n" not in text and len(text) < 450
    return text


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.999])
def test_a_file_cut_off(file, share):
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    for load in (load_model, read_info):
        assert "the archive ends early" in refused(file, load) and "Copy it again" in refused(file, load)


def test_how_much_is_missing_is_said(file):
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    said = int(refused(file).split("of about ")[1].split(" bytes")[0].replace(",", ""))
    assert 0.5 * len(whole) < said <= len(whole)


def test_files_of_other_kinds_are_named(file, tmp_path, model):
    file.write_bytes(b"")
    assert "is empty" in refused(file)
    file.write_text("hello")
    assert "is no .keras file" in refused(file)
    model.save(tmp_path / "old.h5")
    assert "is an HDF5 file" in refused(tmp_path / "old.h5")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "hello")
    assert "holds no Keras model" in refused(file)
    assert "is a folder" in refused(tmp_path)
    assert "there is no such file" in refused(tmp_path / "none.keras")


@pytest.mark.parametrize("position", [0.3, 0.5, 0.8])
def test_a_flipped_byte_is_not_loaded_silently(file, position):
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        weights = archive.getinfo("model.weights.h5")
        start = weights.header_offset + 30 + len(weights.filename)
    content[start + int(position * weights.compress_size)] ^= 0xFF
    file.write_bytes(content)
    assert refused(file)


def test_a_damaged_description_is_refused(file):
    rewrite(file, **{"config.json": b"{not json"})
    assert "its config.json is damaged" in refused(file)


def test_a_damaged_record_is_refused_but_the_model_loads(file):
    whole = INFO.to_json()
    for text in (
        json.dumps({**whole, "data": "x"}),
        json.dumps({**whole, "network": None}),
        "{}",
        "[]",
        '{"format": 1}',
        '{"format": 2, "class_names": []}',
        '{"format": 1, "x": 2}',
    ):
        rewrite(file, **{MEMBER: text})
        assert MEMBER in refused(file, read_info)
        load_model(file)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_network_are_refused(file):
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    other.save(file.parent / "other.keras")
    with zipfile.ZipFile(file.parent / "other.keras") as archive:
        rewrite(file, **{"model.weights.h5": archive.read("model.weights.h5")})
    assert "Keras cannot read it" in refused(file)


def hostile(path, **changes):
    """Change the class of the first convolution."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    node = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Conv2D")
    node.update(changes)
    rewrite(path, **{"config.json": json.dumps(config)})


@pytest.mark.parametrize("name", ["Lambda", "TFSMLayer", "TorchModuleWrapper"])
def test_layers_that_run_code_are_refused(file, name):
    hostile(file, class_name=name)
    assert f"holds a {name} layer, which runs code" in refused(file)


@pytest.mark.filterwarnings("ignore")
def test_a_real_lambda_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "lambda.keras")
    assert "holds a Lambda layer" in refused(tmp_path / "lambda.keras")


@pytest.mark.parametrize(
    "changes",
    [
        {"module": "os", "class_name": "system", "registered_name": None},
        {"module": "subprocess", "class_name": "Popen", "registered_name": "Popen"},
        {"module": None, "class_name": "Mine", "registered_name": "mine>Mine"},
        {"module": "mine.layers", "class_name": "Mine", "registered_name": "mine>Mine"},
    ],
)
def test_foreign_classes_are_refused(file, changes):
    hostile(file, **changes)
    assert "which is not known here. Import the module" in refused(file)


def test_a_hostile_function_is_refused(file):
    hostile(file, config={"activation": {"class_name": "function", "module": "os", "config": "system"}})
    assert "needs the class function of os" in refused(file)


def test_classes_that_the_user_registered_are_read(tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class Double(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    model = keras.Sequential([keras.Input((3,)), Double()])
    save_model(model, tmp_path / "double.keras")
    assert load_model(tmp_path / "double.keras").predict(np.ones((1, 3)), verbose=0).tolist() == [[2, 2, 2]]


def test_a_record_of_another_network_is_refused(model, file):
    check_info(file, model, INFO)
    for change, message in (
        ({"class_names": ("a", "b", "c")}, "names 3 classes, its network has 2 outputs"),
        ({"preprocessing": Preprocessing((8, 9))}, r"images of shape .8, 9, 3., its network takes .9, 9, 3."),
    ):
        with pytest.raises(ModelFileError, match=message):
            check_info(file, model, dataclasses.replace(INFO, **change))


def test_an_archive_of_another_name_is_refused(file):
    other = file.rename(file.with_suffix(".bin"))
    assert "Rename it to end in .keras" in refused(other)


def test_a_bomb_is_not_unpacked(file, monkeypatch):
    monkeypatch.setattr("keras_cnns._archive.JSON_BYTES", 100)
    assert "far too long" in refused(file)


def test_nothing_is_overwritten_unasked(model, file):
    before = file.read_bytes()
    with pytest.raises(OutputExistsError, match="--force"):
        save_model(model, file)
    assert file.read_bytes() == before
    save_model(model, file, overwrite=True)
    assert read_info(file) == ModelInfo()
    with pytest.raises(ValueError, match="must end in '.keras'"):
        save_model(model, file.with_suffix(".h5"))


def test_a_failed_write_leaves_the_old_file(model, file, monkeypatch):
    before = file.read_bytes()

    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(OutputError, match="model.keras: cannot be written .No space left on device.*Free some space"):
        save_model(model, file, INFO, overwrite=True)
    monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_model(model, file, INFO, overwrite=True)
    monkeypatch.undo()
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


@pytest.mark.slow
def test_a_full_disk_leaves_nothing(tmp_path, python):
    """A child process has a real limit on the size of files."""
    done = python(
        """
import resource, sys
from keras_cnns import applications, saving
model = applications.NiN()
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    saving.save_model(model, sys.argv[1])
except saving._files.OutputError as error:
    print(error)
""",
        tmp_path / "model.keras",
    )
    assert "model.keras: cannot be written" in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_reported(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written .*Choose a folder"):
        save_model(model, tmp_path / "file" / "model.keras")


def test_a_file_of_a_later_keras_is_refused_only_if_unreadable(file):
    """The error names both versions and the cure."""
    with zipfile.ZipFile(file) as archive:
        metadata = json.loads(archive.read("metadata.json"))
    rewrite(file, **{"metadata.json": json.dumps({**metadata, "keras_version": "99.1.0"})})
    load_model(file)
    hostile(file, module="keras.layers", class_name="Conv2DOfTheFuture")
    message = refused(file)
    assert f"was saved by Keras 99.1.0, and this is Keras {keras.__version__}" in message
    assert "there is no keras.layers.Conv2DOfTheFuture" in message
    assert message.endswith("Update Keras: pip install --upgrade keras.")


RAW = ("{{", "function_node", "<class", " object at ", "synchronously", "/job:", "Traceback", "CRC", "eof")


def damaged_weights(file, change):
    with zipfile.ZipFile(file) as archive:
        content = archive.read("model.weights.h5")
    rewrite(file, **{"model.weights.h5": change(content)})


def damaged_layer(file, **config):
    with zipfile.ZipFile(file) as archive:
        whole = json.loads(archive.read("config.json"))
    layer = next(layer for layer in whole["config"]["layers"] if layer["class_name"] == "Conv2D")
    layer["config"].update(config)
    rewrite(file, **{"config.json": json.dumps(whole)})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "damage, part",
    [
        (lambda file: damaged_weights(file, lambda old: b""), "its model.weights.h5 is damaged"),
        (lambda file: damaged_weights(file, lambda old: old[: len(old) // 2]), "its model.weights.h5 is damaged"),
        (lambda file: damaged_weights(file, lambda old: old[:512] + bytes(len(old) - 512)), "weights"),
        pytest.param(
            lambda file: damaged_layer(file, filters=10**12),
            "needs more memory than there is",
            marks=pytest.mark.slow,
        ),
        (lambda file: damaged_layer(file, filters=-1), "a Conv2D layer is not described as Keras"),
        (lambda file: damaged_layer(file, no_such_option=1), "a Conv2D layer is not described as Keras"),
        (lambda file: damaged_layer(file, kernel_size=[30, 30]), "its layers do not fit each other"),
        (lambda file: rewrite(file, **{"config.json": b"[]"}), "its config.json describes no model"),
        (lambda file: rewrite(file, **{"config.json": b"3"}), "its config.json describes no model"),
    ],
)
def test_damage_is_reported_in_plain_words_and_leaves_nothing(file, damage, part, tmp_path, monkeypatch):
    """The message has no library's words, and no unpacked file remains."""
    damage(file)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    message = refused(file)
    assert part in message and not any(raw in message for raw in RAW), message
    assert not list((tmp_path / "temporary").iterdir()) and sorted(p.name for p in file.parent.iterdir()) == [
        "model.keras",
        "temporary",
    ]


def test_a_full_temporary_folder_and_too_little_memory_name_the_file(file, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(OutputError, match="model.keras: cannot be unpacked, as the temporary folder .* is full"):
        load_model(file)
    monkeypatch.undo()

    for error in (
        MemoryError(),
        # As Keras reports it when a layer's weights do not fit into memory
        ValueError(
            "A total of 1 objects could not be loaded. Example error message for object <Dense name=fc6>:\n\n"
            "Unable to allocate 392. MiB for an array with shape (25088, 4096) and data type float32"
        ),
    ):
        monkeypatch.setattr("keras.saving.load_model", mock.Mock(side_effect=error))
        said = refused(file)
        assert "needs more memory than there is. Raise the limit" in said and "fc6" not in said


def test_a_member_that_expands_beyond_measure_is_not_unpacked(file):
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(300 << 20))
    assert "would expand to 314,572,800" in refused(file)
