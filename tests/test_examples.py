"""The programs in examples/ print the model's results."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import ROOT
from image_files import image_files
from PIL import Image

from keras_cnns.data import Preprocessing, make_dataset, open_source
from keras_cnns.data.image_files import read_image
from keras_cnns.data.pipeline import prepare
from keras_cnns.errors import SourceError
from keras_cnns.export import FORMATS, Options, export_model, open_artifact
from keras_cnns.saving import ModelInfo

EXAMPLES = ROOT / "examples"
PROGRAMS = {name: EXAMPLES / f"run_{name}.py" for name in FORMATS}
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
DISTRIBUTIONS = {"PIL": "pillow", "ai_edge_litert": "ai-edge-litert"}

# Format, dtype of the input, dtype of the output, options
QUANTIZED = [
    ("tflite", "uint8", "uint8", Options(quantize="int8", integer_only=True)),
    ("tflite", "int8", "int8", Options(quantize="int8", integer_only=True, io="int8")),
    ("onnx", "float32", "float32", Options(quantize="int8", io="float32", layout="nchw")),
]


def run(program, artifact, image, python=sys.executable):
    """Run a program and return its output as [(class, probability), ...]."""
    done = subprocess.run(
        [python, program, artifact, image], cwd=image.parent, env=CLEAN, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = [re.fullmatch(r"(.+)  (\d+\.\d)%", line).groups() for line in done.stdout.splitlines()]
    return [(name, float(percent) / 100) for name, percent in lines]


def check(printed, probabilities, names):
    """Compare printed classes with the probabilities of all classes, to 0.1 %."""
    names, best = list(names), np.sort(probabilities)[::-1][:5]
    printed_names, printed_probabilities = zip(*printed, strict=True)
    assert printed_names[0] == names[probabilities.argmax()]
    np.testing.assert_allclose(printed_probabilities, best, rtol=0, atol=1e-3)
    expected = [probabilities[names.index(name)] for name in printed_names]
    np.testing.assert_allclose(printed_probabilities, expected, rtol=0, atol=1e-3)


@pytest.fixture(scope="module")
def digits(digits_model, tmp_path_factory):
    """The shipped network's artifacts by format, and test digits.

    The digits are [(file, pixels, probabilities), ...].
    """
    model, record = digits_model
    folder = tmp_path_factory.mktemp("digits")
    report = export_model(model, folder, FORMATS, Options(verify=False), info=record, stem="nin-digits")
    test = make_dataset(open_source("digits").split("test"), record.preprocessing, 360, normalize=False)
    images = next(test.as_numpy_iterator())[0]
    probabilities = model.predict(record.preprocessing.normalize(images.astype("float32")), verbose=0)
    examples = []
    # The two least certain digits come first, because a fault shows in them
    for k in (*probabilities.max(1).argsort()[:2], 0):
        path = folder / f"{k}.png"
        Image.fromarray(images[k, ..., 0]).save(path)
        examples.append((path, images[k], probabilities[k]))
    return {artifact.format: artifact.path for artifact in report.artifacts}, examples


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_programs_import_what_they_say_and_are_short(program):
    source = program.read_text("utf8")
    tree = ast.parse(source)
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    if "read_image" in imported:
        assert "read_image.py beside it" in ast.get_docstring(tree)
        imported |= {"numpy", "PIL"}
    documented = re.search(r"^    pip install (.+)$", ast.get_docstring(tree, clean=False), re.M)[1].split()
    needed = imported - {*sys.stdlib_module_names, "read_image"}
    assert sorted(DISTRIBUTIONS.get(name, name) for name in needed) == sorted(documented)
    assert not needed & {"keras", "keras_cnns"}
    assert ("tensorflow" in needed) == (program == PROGRAMS["saved_model"])
    lines = [line.strip() for line in source.splitlines()[tree.body[0].end_lineno :]]
    assert len([line for line in lines if line and not line.startswith("#")]) <= 20


@pytest.mark.parametrize("format", [pytest.param("saved_model", marks=pytest.mark.slow), "tflite", "onnx"])
def test_programs_print_the_models_results(digits, format):
    artifacts, images = digits
    for path, _, probabilities in images[:1] if format == "saved_model" else images:  # TensorFlow starts slowly
        check(run(PROGRAMS[format], artifacts[format], path), probabilities, "0123456789")


@pytest.mark.slow
@pytest.mark.parametrize("format, input_type, output_type, options", QUANTIZED)
def test_programs_run_quantized_artifacts(digits, digits_model, format, input_type, output_type, options, tmp_path):
    model, record = digits_model
    (artifact,) = export_model(model, tmp_path, [format], options, info=record).artifacts
    opened = open_artifact(artifact.path)
    assert opened.inputs["image"]["dtype"] == input_type
    assert opened.outputs["probabilities"]["dtype"] == output_type
    for path, pixels, _ in digits[1]:
        batch = pixels[None].astype("float32" if input_type == "float32" else "uint8")
        expected = opened(batch)["probabilities"][0]  # those of the artifact: quantized, it differs from the model
        check(run(PROGRAMS[format], artifact.path, path), expected, "0123456789")


@pytest.mark.parametrize("shorter_side", [None, 30], ids=["stretched", "cut out"])
def test_programs_resize_color_images_as_the_package_does(shorter_side, tmp_path):
    # Every pixel counts in this network, so that another resize or channel order would show.
    names = ("tulip", "white rose", "dandelion")
    kernel = keras.initializers.RandomNormal(stddev=0.1, seed=0)
    image = keras.Input((20, 24, 3))
    dense = keras.layers.Dense(3, "softmax", kernel_initializer=kernel)
    model = keras.Model(image, dense(keras.layers.Flatten()(image)))
    info = ModelInfo(class_names=names, preprocessing=Preprocessing((20, 24), 3, shorter_side))
    report = export_model(model, tmp_path, ["tflite", "onnx"], Options(verify=False), info=info, stem="flowers")

    pixels = np.random.default_rng(0).integers(0, 256, (25, 35, 3), dtype="uint8").repeat(3, 0).repeat(3, 1)
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: the camera was held upright
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", quality=95, exif=turned)
    (tmp_path / "transparent.png").write_bytes(image_files()[0]["rgba.png"])
    for path in (tmp_path / "turned.jpg", tmp_path / "transparent.png"):
        prepared = prepare(read_image(path, 3), info.preprocessing).numpy()
        expected = model.predict(info.preprocessing.normalize(np.float32(prepared[None])), verbose=0)[0]
        for artifact in report.artifacts:
            check(run(PROGRAMS[artifact.format], artifact.path, path), expected, names)


def run_read_image(path, record):
    """Return the pixels that examples/read_image.py reads for an artifact."""
    card = {"input": {"shape": [None, *record.shape]}, "preprocessing": record.to_json()}
    return runpy.run_path(EXAMPLES / "read_image.py")["read_image"](path, card)[0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "size, rule",
    [
        ((20, 24), {}),
        ((20, 24), {"shorter_side": 30}),
        ((48, 60), {}),
        ((31, 20), {"fit": "pad", "mean": (77.0,)}),
        ((20, 47), {"fit": "pad"}),
    ],
)
def test_read_image_gives_the_pixels_of_the_package(channels, size, rule, tmp_path):
    record = Preprocessing(size, channels, **rule)
    readable, refused = image_files()
    for name, content in {**readable, **refused}.items():
        (tmp_path / name).write_bytes(content)
    gray = np.arange(48 * 60, dtype="int32").reshape(48, 60)
    Image.fromarray(gray % 256).save(tmp_path / "narrow.tif")
    Image.fromarray(gray * 20).save(tmp_path / "wide.tif")
    for path in tmp_path.iterdir():
        name = path.name
        try:
            expected = prepare(read_image(path, channels), record).numpy().astype("float32")
        except SourceError:
            continue
        pixels = run_read_image(path, record)
        assert pixels.shape == expected.shape and pixels.dtype == "float32", name
        # Both add in another order, so that values halfway between whole numbers may be rounded differently
        assert np.abs(pixels - expected).max() <= 1 and (pixels != expected).mean() < 0.08, name
    Image.fromarray(np.float32([[0.5] * 8] * 8)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match="float.tif: has more than 16 bits"):
        run_read_image(tmp_path / "float.tif", Preprocessing((8, 8), 1))


@pytest.mark.slow
def test_programs_need_only_their_runtime(digits, tmp_path):
    """They run in a new environment without TensorFlow, Keras and this package."""
    artifacts, images = digits
    python = tmp_path / "alone" / "bin" / "python"

    def command(*parts):
        return subprocess.run(parts, cwd=tmp_path, env=CLEAN, capture_output=True, text=True)

    made = command(sys.executable, "-m", "venv", tmp_path / "alone")
    assert made.returncode == 0, made.stderr
    installed = command(python, "-m", "pip", "install", "--quiet", "ai-edge-litert", "onnxruntime", "numpy", "pillow")
    assert installed.returncode == 0, installed.stderr
    for name in ("tensorflow", "keras", "keras_cnns"):
        assert f"No module named '{name}'" in command(python, "-c", f"import {name}").stderr
    for format in ("tflite", "onnx"):
        shutil.copy(EXAMPLES / "read_image.py", tmp_path)
        program = shutil.copy(PROGRAMS[format], tmp_path)
        for path, _, probabilities in images:
            check(run(program, artifacts[format], path, python), probabilities, "0123456789")
