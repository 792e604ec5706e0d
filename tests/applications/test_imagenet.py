"""Downloads of Keras's ImageNet weights, from a server on this machine."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import warnings

import keras
import numpy as np
import pytest
from conftest import ROOT, one_sentence
from families import randomize
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group
from keras_cnns.cli import _model

from keras_cnns import applications
from keras_cnns.applications import _weights
from keras_cnns.errors import ArgumentError, ModelFileError
from keras_cnns.saving import read_info

IDS = [f"n{k:08}" for k in range(1000)]
CRANES = (134, 517)  # as in Keras's own list
NAMES = [f"crane ({IDS[k]})" if k in CRANES else f"class-{k}" for k in range(1000)]
FILE = "{}_weights_tf_dim_ordering_tf_kernels{}.h5"
SIDE = 75  # of images that all six networks take


class Publisher(http.server.ThreadingHTTPServer):
    """A server of files by name that records the requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.truncate_at = {}, [], None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.server.requests.append(name)
        if name not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.server.truncate_at])

    def log_message(self, *_):
        pass


@pytest.fixture
def publisher():
    server = Publisher()
    yield server
    server.shutdown()
    server.server_close()


def published(builder, folder, top=True):
    """Return Keras's network with random weights, and the bytes of its file."""
    theirs = getattr(keras.applications, builder)(
        weights=None, include_top=top, **({} if top else {"input_shape": (SIDE, SIDE, 3)})
    )
    randomize(theirs)
    import h5py

    path = folder / "published.h5"
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, theirs)
    return theirs, path.read_bytes()


def redirect_downloads(monkeypatch, builder, top, url, content, home):
    """Let keras.applications download from `url`, and keep the files in `home`."""
    digest, name = hashlib.md5(content).hexdigest(), builder.lower()
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(home))
    monkeypatch.setenv("KERAS_HOME", str(home))
    if name.startswith("resnet"):
        monkeypatch.setattr("keras.src.applications.resnet.BASE_WEIGHTS_PATH", url)
        monkeypatch.setitem(keras.src.applications.resnet.WEIGHTS_HASHES, name, (digest, digest))
        return
    # The hashes of the other networks are local to their functions, so `get_file` itself is given another one.
    module = {"inceptionv3": "inception_v3"}.get(name, name)
    ending = "" if top else "_NO_TOP"
    monkeypatch.setattr(f"keras.src.applications.{module}.WEIGHTS_PATH{ending}", url + FILE.format(module, ""))
    real = keras.src.utils.file_utils.get_file
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *a, **k: real(*a, **{**k, "file_hash": digest}))


@pytest.fixture
def resnet50(publisher, tmp_path, monkeypatch):
    """A keras.applications.ResNet50 with random weights, which the server publishes."""
    theirs, content = published("ResNet50", tmp_path)
    publisher.files[FILE.format("resnet50", "")] = content
    redirect_downloads(monkeypatch, "ResNet50", True, publisher.url, content, tmp_path / "home")
    index = {str(k): [IDS[k], NAMES[k].partition(" ")[0]] for k in range(1000)}
    monkeypatch.setattr("keras.src.applications.imagenet_utils.CLASS_INDEX", index)
    return theirs


def assert_same_outputs(ours, theirs, record, preprocess):
    """Compare the logits, each network with its own normalization.

    A softmax would saturate.
    """
    if isinstance(theirs.layers[-1], keras.layers.Dense):
        theirs.layers[-1].activation = keras.activations.linear
    pixels = np.random.default_rng(0).integers(0, 256, (2, *ours.input_shape[1:]), "uint8")
    normalized = record.preprocessing.normalize(pixels.astype("float32"))
    np.testing.assert_allclose(normalized, preprocess(pixels.astype("float32")), atol=1e-4)
    expected = theirs.predict(preprocess(pixels.astype("float32")), verbose=0)
    actual = ours.predict(np.ascontiguousarray(normalized), verbose=0)
    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()
    wrong = ours.predict(np.ascontiguousarray(normalized[..., ::-1]), verbose=0)
    assert np.abs(wrong - expected).max() > 1e-3 * np.abs(expected).max()


@pytest.mark.slow
def test_imagenet_weights_give_keras_logits_and_are_downloaded_once(resnet50, publisher, cli, capfd):
    model = applications.ResNet50(weights="imagenet", classifier_activation=None)
    record = applications.weights_info("resnet50", "imagenet")
    assert record.class_names == tuple(NAMES) and record.class_ids == tuple(IDS) and "MIT" in record.license
    assert capfd.readouterr().out == ""  # stdout is for results
    assert_same_outputs(model, resnet50, record, keras.applications.resnet.preprocess_input)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = applications.ResNet50(weights="imagenet", input_shape=(64, 48, 3))
    for weight, expected in zip(small.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    with pytest.raises(ArgumentError, match="`stride_on` must be '1x1' with weights='imagenet'"):
        applications.ResNet50(weights="imagenet", stride_on="3x3")
    with pytest.warns(UserWarning, match="fc must be trained from scratch"):
        assert applications.ResNet50(weights="imagenet", classes=5).output_shape == (None, 5)
    code, out, err = cli("predict", "resnet50:imagenet", ROOT / "docs" / "images" / "demo.png", "--json")
    assert code == 0 and json.loads(out)[0]["predictions"][0]["class"] in NAMES, err
    code, out, err = cli("predict", "resnet50", ROOT / "docs" / "images" / "demo.png")
    assert code == 2 and one_sentence(err, "MODEL needs weights: choose one of resnet50:imagenet")
    assert publisher.requests == [FILE.format("resnet50", "")]


def images_of_imagenet(path, class_names, each=1):
    """Write an .npz of images of ImageNet's classes.

    There are `each` training images per class, and two test images of each crane.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (1000 * each, 16, 16, 3), "uint8")
    test = {"x_test": pixels[:4], "y_test": np.repeat(CRANES, 2)}
    np.savez(path, x_train=pixels, y_train=np.arange(1000 * each) % 1000, **test, class_names=class_names)
    return path


@pytest.mark.slow
def test_classes_of_images_may_be_wordnet_ids(resnet50, cli, tmp_path):
    """The classes may be in any order, as in ImageNet's folders.

    A file keeps the ids.
    """
    source = images_of_imagenet(tmp_path / "ids.npz", IDS)
    code, out, err = cli("evaluate", "resnet50:imagenet", "--data", source, "--json")
    assert code == 0, err
    assert list(json.loads(out)["per_class"]) == NAMES
    other = images_of_imagenet(tmp_path / "other.npz", IDS[::-1])
    code, out, err = cli("evaluate", "resnet50:imagenet", "--data", other, "--json")
    counts = np.sum(json.loads(out)["confusion"], axis=1)
    assert code == 0 and {999 - int(place): int(counts[place]) for place in np.flatnonzero(counts)} == dict.fromkeys(
        CRANES, 2
    )
    unknown = images_of_imagenet(tmp_path / "unknown.npz", ["n99999999", *IDS[1:]])
    code, out, err = cli("evaluate", "resnet50:imagenet", "--data", unknown)
    assert code == 2 and one_sentence(err, "the classes of the images must be those of the model")
    path, record, _ = _model.model_file("resnet50:imagenet")
    assert read_info(path).class_ids == record.class_ids == tuple(IDS)


@pytest.mark.slow
def test_training_starts_from_imagenet_weights(resnet50, cli, tmp_path):
    """Normalization and classifier are kept.

    Blue comes first. The classes are the same under other names.
    """
    source = images_of_imagenet(tmp_path / "ids.npz", IDS, each=2)
    arguments = ("--input-size", 32, "--epochs", 1, "--output", tmp_path / "run", "--json")
    code, out, err = cli("train", "resnet50:imagenet", "--data", source, *arguments)
    assert code == 0, err
    trained = json.loads(out)
    assert (
        "must be trained" not in err and trained["class_names"] == IDS and trained["training"]["weights"] == "imagenet"
    )
    assert trained["preprocessing"]["channel_order"] == "BGR" and trained["preprocessing"]["size"] == [32, 32]


@pytest.mark.slow
def test_networks_with_imagenet_weights_are_exported(resnet50, cli, tmp_path):
    """Every runtime gets blue first. Verification images may have WordNet ids."""
    arguments = ("--format", "all", "--output", tmp_path / "exports", "--json")
    code, out, err = cli("export", "resnet50:imagenet", *arguments)
    assert code == 0, err
    assert all(artifact["parity"]["agreement"] == 1 for artifact in json.loads(out)["artifacts"])
    source = images_of_imagenet(tmp_path / "ids.npz", IDS)
    images = ("--calibration", source, "--calibration-samples", 4, "--verify-data", source)
    arguments = ("--format", "tflite", "--quantize", "int8", "--output", tmp_path / "exports", *images)
    code, out, err = cli("export", "resnet50:imagenet", *arguments)
    assert code in (0, 1), err  # eight bits may change the results of random weights


@pytest.mark.slow
def test_a_truncated_or_damaged_download_is_an_error(resnet50, publisher, tmp_path):
    name = FILE.format("resnet50", "")
    publisher.truncate_at = 100_000
    with pytest.raises(ModelFileError, match="ResNet50's ImageNet weights: cannot be fetched.*Try again"):
        applications.ResNet50(weights="imagenet")
    publisher.truncate_at = None
    whole = publisher.files[name]
    publisher.files[name] = whole[:-1] + bytes([whole[-1] ^ 1])
    with pytest.raises(ModelFileError, match="cannot be fetched .*does not match"):
        applications.ResNet50(weights="imagenet")
    publisher.files[name] = whole
    model = applications.ResNet50(weights="imagenet")
    np.testing.assert_array_equal(model.get_layer("fc").kernel, resnet50.get_layer("predictions").kernel)
    assert publisher.requests == [name] * 3


def test_without_a_network_connection_the_error_says_where_to_put_the_file(publisher, tmp_path, monkeypatch, cli):
    redirect_downloads(monkeypatch, "ResNet50", True, publisher.url, b"", tmp_path / "home")
    with pytest.raises(ModelFileError, match=r"cannot be fetched .*404.*copy Keras's file into .*home/models"):
        applications.ResNet50(weights="imagenet")
    publisher.shutdown()
    publisher.server_close()
    with monkeypatch.context() as patched, pytest.raises(ModelFileError, match="cannot be fetched .*refused"):
        patched.setattr(keras.layers, "Input", lambda *_, **__: pytest.fail("a network was built before the check"))
        applications.ResNet50(weights="imagenet")
    monkeypatch.setattr("keras.src.applications.imagenet_utils.CLASS_INDEX", None)
    monkeypatch.setattr("keras.src.applications.imagenet_utils.CLASS_INDEX_PATH", publisher.url + "names.json")
    code, out, err = cli("predict", "resnet50:imagenet", ROOT / "docs" / "images" / "demo.png")
    assert code == 3 and out == "" and one_sentence(err, "the names of ImageNet's classes: cannot be fetched")


@pytest.mark.slow
@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("builder", _weights.PUBLISHED)
def test_every_network_computes_what_keras_does(builder, top, publisher, tmp_path, monkeypatch):
    theirs, content = published(builder, tmp_path, top)
    module = {"InceptionV3": "inception_v3"}.get(builder, builder.lower())
    publisher.files[FILE.format(module, "" if top or not module.startswith("resnet") else "_notop")] = content
    redirect_downloads(monkeypatch, builder, top, publisher.url, content, tmp_path / "home")
    options = {"classifier_activation": None} if top else {"input_shape": (SIDE, SIDE, 3)}
    ours = getattr(applications, builder)(weights="imagenet", include_top=top, **options)
    preprocess = getattr(keras.applications, "resnet" if module.startswith("resnet") else module).preprocess_input
    assert_same_outputs(ours, theirs, _weights.find(builder, "imagenet"), preprocess)


TWO = """
import os, sys
import keras
name, url, digest = sys.argv[1:]
keras.src.applications.resnet.BASE_WEIGHTS_PATH = url
keras.src.applications.resnet.WEIGHTS_HASHES["resnet50"] = (digest, digest)
from keras_cnns import applications
model = applications.ResNet50(weights="imagenet")
print(float(abs(model.get_layer("fc").kernel.numpy()).sum()))
"""


@pytest.mark.slow
def test_two_processes_at_once_download_once(resnet50, publisher, tmp_path):
    """Keras writes to the final name at once.

    Without a lock, the second process would read half a file.
    """
    name = FILE.format("resnet50", "")
    digest = hashlib.md5(publisher.files[name]).hexdigest()
    environment = {**os.environ, "KERAS_HOME": str(tmp_path / "home")}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, name, publisher.url, digest],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    expected = float(np.abs(np.asarray(resnet50.get_layer("predictions").kernel)).sum())
    assert all(np.isclose(float(out), expected, rtol=1e-5) for out, _ in outputs)
    assert publisher.requests == [name]
