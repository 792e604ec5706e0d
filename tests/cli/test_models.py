"""Every command finds its MODEL, or says in one sentence why not."""

import zipfile

import keras
import pytest
from conftest import one_sentence


@pytest.mark.parametrize(
    "model, code, parts",
    [
        ("nin:digit", 2, ["there are cifar10, digits", "Did you mean 'digits'?"]),
        ("nim:digits", 2, ["Did you mean 'nin:digits'?", "Received: MODEL='nim:digits'"]),
        ("NiNImageNet", 2, ["no weights ship with NiNImageNet"]),
        ("NiN", 2, ["MODEL needs weights: choose one of nin:cifar10, nin:digits"]),
        ("missing.keras", 2, ["there is no such model file"]),
        ("https://example.org/model.keras", 2, ["MODEL cannot be an address: download the file"]),
        ("/proc", 2, ["MODEL is a .keras file, and this is a folder: it holds no .keras file"]),
    ],
)
@pytest.mark.parametrize(
    "command", [("evaluate", "--data", "digits"), ("export", "--format", "onnx"), ("predict", "a.png")]
)
def test_a_wrong_model_name_gets_one_sentence(cli, command, model, code, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *rest = command
    status, out, err = cli(name, model, *rest)
    assert (status, out) == (code, "")
    one_sentence(err, *parts)
    assert not list(tmp_path.iterdir())


def test_a_misspelled_file_name_gets_a_suggestion(cli, digits_file, tmp_path):
    (tmp_path / "model.keras").write_bytes(digits_file.read_bytes())
    code, _, err = cli("evaluate", tmp_path / "modle.keras", "--data", "digits")
    assert code == 2 and one_sentence(err, "Did you mean 'model.keras'?")


@pytest.mark.parametrize("fault", ["truncated", "empty", "foreign", "hostile", "lambda", "directory"])
@pytest.mark.parametrize(
    "command", [("evaluate", "--data", "digits"), ("export", "--format", "all"), ("predict", "a.png")]
)
@pytest.mark.filterwarnings("ignore")
def test_a_bad_model_file_gets_one_sentence(cli, digits_file, command, fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, whole = tmp_path / "model.keras", digits_file.read_bytes()
    expected = {
        "truncated": "the archive ends early",
        "empty": "is empty",
        "foreign": "is no .keras file",
        "hostile": "needs the class system of os, which is not known here",
        "lambda": "holds a Lambda layer, which runs code",
        "directory": "is a folder",
    }[fault]
    if fault == "lambda":
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: x)]).save(path)
    elif fault == "directory":
        path.mkdir()
    else:
        path.write_bytes({"truncated": whole[: len(whole) // 2], "foreign": b"\x00" * 100}.get(fault, b""))
    if fault == "hostile":
        path.write_bytes(whole)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        text = members["config.json"].replace(
            b'"module": "keras.layers", "class_name": "Conv2D"', b'"module": "os", "class_name": "system"'
        )
        assert text != members["config.json"]
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (members | {"config.json": text}).items():
                archive.writestr(name, content)
    name, *rest = command
    code, out, err = cli(name, "model.keras", *rest)
    assert (code, out) == (3, "")
    one_sentence(err, "model.keras: ", expected)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
