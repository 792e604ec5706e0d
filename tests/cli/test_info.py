"""cnn-info prints networks, layers, comparisons and recipes, and draws them."""

import json
import sys

import keras
import pytest
from conftest import one_sentence, without

import keras_cnns
from keras_cnns import _machine
from keras_cnns.applications._facts import FACTS


def test_all_networks_are_listed(cli):
    code, out, _ = cli("info", "--wide")
    assert code == 0
    for name, facts in FACTS.items():
        (line,) = (line for line in out.splitlines() if line.split()[:1] == [name])
        assert f" {facts.parameters:,} " in line and f" {facts.macs / 1e6:,.1f} M " in line
        assert str(facts.year) in line and facts.published_error in line
    assert "nin:digits" in out
    code, out, _ = cli("info", "--json")
    values = json.loads(out)
    assert [value["name"] for value in values] == list(FACTS)
    nin = next(value for value in values if value["name"] == "NiN")
    assert "nin:digits" in nin["weights"] and nin["errors"]["CIFAR-10"] == 10.41 and nin["macs"] == 222_486_528


def test_the_list_of_networks_needs_no_framework(python):
    done = python(without("keras", "tensorflow", "jax") + "from keras_cnns.cli.info import main; main([])")
    assert done.returncode == 0 and "ResNet152" in done.stdout, done.stderr


def test_versions_need_no_framework(python):
    import importlib.metadata

    source = (
        "import sys, atexit, json\nfrom keras_cnns.cli.info import main\n"
        "atexit.register(lambda: print({'keras', 'tensorflow'} & set(sys.modules), file=sys.stderr))\n"
        "main(['--versions', *sys.argv[1:]])"
    )
    done = python(source, "--json", KERAS_BACKEND="torch", TF_ENABLE_ONEDNN_OPTS="0")
    values = json.loads(done.stdout)
    assert done.returncode == 0 and done.stderr.strip() == "set()"
    assert {name: importlib.metadata.version(name) for name in values["packages"]} == values["packages"]
    assert {"keras", "tensorflow", "onnxruntime", "ai-edge-litert"} <= set(values["packages"])
    assert values["settings"]["KERAS_BACKEND"] == "torch" and values["settings"]["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert {"keras_cnns", "system", "processor", "instructions", "memory", "gpus", "console"} <= set(values)
    assert values["keras_cnns"] == keras_cnns.__version__
    assert {"h5py", "protobuf", "ml-dtypes"} <= set(values["packages"])
    if "avx2" in _machine.instructions():
        assert "avx2" in values["instructions"].split() and "avx" in values["instructions"].split()
    assert int(values["cores"]) >= 1 and values["python"].startswith(sys.version.split()[0])
    lines = python(source).stdout.splitlines()
    assert ["keras", values["packages"]["keras"]] in [line.split() for line in lines] and max(map(len, lines)) <= 80


def test_the_layers_of_a_network(cli):
    code, out, _ = cli("info", "lenet5", "--wide")
    assert code == 0 and out.startswith("LeNet5: LeCun et al. 1998")
    assert "60,000 parameters trained, 840 fixed; 326,520 multiply-adds; 340,908 connections" in out
    assert "error, MNIST: 0.95 %" in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith("  ") and line.strip()}
    assert rows["C3"] == ["C3", "ConnectionTableConv2D", "10x10x16", "1,516", "150,000", "14x14", "/", "2"]
    assert rows["rbf"][-1] == "-" and rows["rbf"][3:6] == ["0", "+", "840"]
    code, out, _ = cli("info", "LeNet5", "--json")
    values = json.loads(out)
    assert values["connections"] == 340_908 and values["rows"][0]["receptive_field"]["size"] == [5, 5]


def test_another_input_size(cli):
    _, out, _ = cli("info", "NiN", "--input-size", "64", "--json")
    assert json.loads(out)["macs"] == 4 * FACTS["NiN"].macs
    code, out, err = cli("info", "NiN", "--input-size", "4")
    assert code == 2 and not out and one_sentence(err, "at least 6x6 pixels")
    code, out, err = cli("info", "nin:digits", "--input-size", "64")
    assert code == 2 and not out and one_sentence(err, "`input_shape` must be that of the model's input")


def test_the_layers_of_a_model_file(cli, digits_file, tmp_path):
    code, out, _ = cli("info", digits_file)
    assert code == 0 and "349,674 parameters trained" in out and "error, digits test, top-1: 0.28 %" in out
    assert "10.41" not in out  # the error of the paper's network does not apply
    x, y = keras.Input((5,), name="x"), keras.Input((8, 8, 1), name="y")
    z = keras.layers.Concatenate()([x, keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(y))])
    keras.Model([x, y], keras.layers.Dense(2, name="last")(z)).save(tmp_path / "two inputs.keras")
    code, out, _ = cli("info", tmp_path / "two inputs.keras")
    assert code == 0 and "input 5, 8x8x1" in out and "last" in out


def test_a_comparison_has_one_row_per_model(cli):
    code, out, _ = cli("info", "LeNet5", "NiN", "nin:digits", "--wide")
    rows = [line for line in out.splitlines() if line.startswith("  ") and "%" in line]
    assert code == 0 and [row.split()[0] for row in rows] == ["LeNet5", "NiN", "nin:digits"]
    assert "966,986" in rows[1] and "CIFAR-10 10.41 %" in rows[1] and "digits test, top-1 0.28 %" in rows[2]
    code, out, _ = cli("info", "LeNet5", "ResNet20", "--json")
    values = json.loads(out)
    assert [value["macs"] for value in values] == [326_520, 40_551_040] and "rows" not in values[0]
    assert values[1]["errors"] == {"CIFAR-10, augmented": 8.75}


def test_drawings_name_what_they_leave_out(cli, ink, tmp_path):
    for arguments, words in (
        ([], "not drawn: LeNet5, "),
        (["LeNet5"], ""),
        (["ResNet20", "ResNet32", "LeNet5"], "not drawn: LeNet5"),
        (["LeNet5Modern", "AlexNetOneTower"], ""),  # no published errors
    ):
        path = tmp_path / "new" / f"{len(arguments)}.png"
        code, _, err = cli("info", *arguments, "--plot", path, "--force")
        assert code == 0 and words in err
        size, share = ink(path)
        assert min(size) > 200 and 0.01 < share < 0.6
    code, out, err = cli("info", "LeNet5", "--plot", path)
    assert code == 2 and not out and one_sentence(err, f"{path}", "--force")


def test_recipes_of_networks_and_models(cli, digits_file, tmp_path):
    code, out, _ = cli("info", "NiN", "--recipe")
    assert code == 0 and "nin-cifar10" in out and "learning_rate" in out and "short" in out
    assert "weight_decay" in out and "clip_norm" not in out  # no recipe of NiN sets it
    code, out, _ = cli("info", "VGG16", "--recipe", "--json")
    assert [recipe["name"] for recipe in json.loads(out)] == ["short", "photographs", "fine-tuning", "vgg-imagenet"]
    for model in ("nin:digits", digits_file):
        code, out, _ = cli("info", model, "--recipe", "--json")
        assert code == 0 and [recipe["name"] for recipe in json.loads(out)] == ["nin-digits"]
    plain = tmp_path / "plain.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(plain)
    code, _, err = cli("info", plain, "--recipe")
    assert code == 2 and one_sentence(err, "the model carries no recipe")


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["ResNet51"], "Did you mean 'ResNet5"),
        (["nin:digit"], "Did you mean 'digits'"),
        (["missing.keras"], "there is no such model file"),
        (["LeNet5", "missing.keras"], "there is no such model file"),
        (["--recipe"], "--recipe takes one network or model"),
        (["NiN", "--versions"], "--versions goes with --json only"),
        (["https://example.org/model.keras"], "download the file"),
        (["NiN", "LeNet5", "--recipe"], "Received: NiN, LeNet5"),
        (["NiN", "--recipe", "--plot", "layers.png"], "Received: NiN, --plot"),
        (["NiN", "--plot", "layers.pdf"], "end the name in .png"),
        (["--input-size", "32"], "--input-size takes a network or model"),
    ],
)
def test_wrong_usage_is_exit_code_2(cli, arguments, part):
    code, out, err = cli("info", *arguments)
    assert code == 2 and not out and one_sentence(err, part)


def test_a_truncated_file_is_exit_code_3(cli, digits_file, tmp_path):
    path = tmp_path / "cut.keras"
    path.write_bytes(digits_file.read_bytes()[:5000])
    for arguments in ([], ["--recipe"]):
        code, out, err = cli("info", path, *arguments)
        assert code == 3 and not out and one_sentence(err, "the archive ends early")
