"""The house: what is installed, who imports whom, and that nothing heavy is imported unasked."""

import ast
import configparser
import gc
import graphlib
import importlib
import inspect
import itertools
import re
import sys

import pytest
from conftest import ROOT, without
from PIL import Image

import keras_cnns
from keras_cnns import _quiet

COMMANDS = ["train", "evaluate", "predict", "export", "benchmark", "info", "data", "visualize"]


def table_of_rooms():
    """Return what each room may import, from the table of the page on design; "every room" is a row."""
    text = (ROOT / "docs" / "contributing" / "design.md").read_text("utf8")
    head = "| room | holds | may import |"
    lines = text[text.index(head) :].partition("\n\n")[0].splitlines()[2:]
    cells = [line.strip("|").split(" | ") for line in lines]
    return {room.strip(" `"): set(re.findall("`(.*?)`", allowed)) for room, _, allowed in cells}


# Room: the parts of the package that it may import besides; any part of its own room is allowed.
MAY_IMPORT = table_of_rooms()
EVERY_ROOM_MAY_IMPORT = MAY_IMPORT.pop("every room")
TENSORFLOW_AT_TOP = {
    "data/_tf_data.py",
    "data/_tfds_split.py",
    "data/file_split.py",
    "data/image_decoder.py",
    "data/read_errors.py",
    "data/image_bytes.py",
    "data/splits.py",
    "data/_records.py",
    "data/augment.py",
    "data/balance.py",
    "data/disk_cache.py",
    "data/geometry.py",
    "data/image_reader.py",
    "data/pipeline.py",
    "data/dataset_state.py",
    "data/sharding.py",
    "export/_onnx.py",
    "export/_saved_model.py",
    "export/_servable.py",
    "export/_tflite.py",
}


LIGHT = (
    "click",
    "keras_cnns.cli",
    "keras_cnns._machine",
    "keras_cnns._text",
    "keras_cnns.errors",
    "keras_cnns.export.formats",
    "keras_cnns.evaluation.protocols",
    "keras_cnns.analysis.visualizations",
)


def imports(tree, everywhere):
    """Yield (module, at top level) of each import; names of `from x import y` as x.y where x is a package of ours."""
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if id(node) in top or everywhere:
            if isinstance(node, ast.Import):
                yield from ((alias.name, id(node) in top) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield f"{node.module}.{alias.name}", id(node) in top


def room_of(name):
    return next(room for room in sorted(MAY_IMPORT, key=len, reverse=True) if f"{name}.".startswith(f"{room}."))


@pytest.mark.parametrize("path", sorted((ROOT / "keras_cnns").rglob("*.py")), ids=lambda p: p.name)
def test_rooms_import_only_what_they_may(path):
    relative = path.relative_to(ROOT / "keras_cnns")
    tree = ast.parse(path.read_text("utf8"))
    name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    if name == "__init__":
        return
    allowed = MAY_IMPORT[room_of(name)] | EVERY_ROOM_MAY_IMPORT
    for module, at_top in imports(tree, everywhere=True):
        if at_top and module.split(".")[0] == "tensorflow":
            assert relative.as_posix() in TENSORFLOW_AT_TOP, f"{relative} imports tensorflow at module level"
        if not module.startswith("keras_cnns."):
            continue
        target = module.removeprefix("keras_cnns.")
        if target == "__version__" or room_of(target) == room_of(name):
            continue
        assert any(f"{target}.".startswith(f"{part}.") for part in allowed), f"{relative} imports {module}"


def test_the_page_on_design_names_rooms_and_folders_that_exist():
    rooms = {*MAY_IMPORT, *EVERY_ROOM_MAY_IMPORT, *itertools.chain(*MAY_IMPORT.values())}
    assert len(MAY_IMPORT) > 30
    for room in rooms - {"saved_models"}:
        path = ROOT.joinpath("keras_cnns", *room.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), room
    parts = {path.stem for path in (ROOT / "keras_cnns").glob("[!_]*") if path.suffix in ("", ".py")}
    assert parts - MAY_IMPORT.keys() == set(), "give each part a row in docs/contributing/design.md"
    folders = re.findall(r"^    (\w+)/ ", (ROOT / "docs" / "contributing" / "design.md").read_text("utf8"), re.M)
    assert len(folders) == 8 and all((ROOT / folder).is_dir() for folder in folders)


def test_no_module_imports_itself_through_others():
    """Neither at the top of modules nor inside functions; packages are lazy, and types are no dependency."""
    places = {"keras_cnns": ROOT / "keras_cnns", "keras_cnns.cli": ROOT / "cli"}
    files = {
        ".".join((package, *path.relative_to(folder).with_suffix("").parts)): path
        for package, folder in places.items()
        for path in folder.rglob("*.py")
        if path.name != "__init__.py"
    }
    edges = {}
    for name, path in files.items():
        tree = ast.parse(path.read_text("utf8"))
        for block in [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
            if getattr(block.test, "id", "") == "TYPE_CHECKING":
                block.body = []
        found = {module for module, _ in imports(tree, everywhere=True)}
        edges[name] = {module if module in files else module.rpartition(".")[0] for module in found} & files.keys()
    circle = []
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1]
    assert circle == []


@pytest.mark.parametrize("folder", ["keras_cnns", "cli", "scripts"])
def test_first_lines_of_docstrings_are_short(folder):
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    long = []
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf8"))):
            text = ast.get_docstring(node) if isinstance(node, documented) else None
            first = (text or "").partition("\n")[0]
            if len(first.split()) > 12:
                long.append(f"{path.name}: {first}")
    assert long == []


def lacking_annotations(function):
    """Return the arguments of a function that lack an annotation, and "return" if the result does."""
    signature = inspect.signature(function)
    empty = inspect.Signature.empty
    lacking = [name for name, value in signature.parameters.items() if value.annotation is empty and name != "self"]
    return lacking + ["return"] * (signature.return_annotation is empty)


@pytest.mark.parametrize("path", sorted((ROOT / "keras_cnns").glob("*/__init__.py")), ids=lambda p: p.parent.name)
def test_editors_know_every_lazy_name(path):
    """What a package imports lazily, it imports under TYPE_CHECKING too, where editors and type checkers look."""
    tree = ast.parse(path.read_text("utf8"))
    blocks = [
        node for node in tree.body if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    typed = {alias.name for block in blocks for node in block.body for alias in getattr(node, "names", ())}
    package = importlib.import_module(f"keras_cnns.{path.parent.name}")
    lazy = set(package.__all__) if "lazy" in vars(package) else set()
    assert lazy - typed == set(), f"{path.parent.name}/__init__.py: import these under TYPE_CHECKING too"


@pytest.mark.parametrize("part", keras_cnns._PARTS)
def test_public_functions_are_annotated(part):
    module = importlib.import_module(f"keras_cnns.{part}")
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isfunction(value):
            assert lacking_annotations(value) == [], name
        elif inspect.isclass(value):
            for method, function in vars(value).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    assert lacking_annotations(function) == [], f"{name}.{method}"


@pytest.mark.parametrize("path", sorted((ROOT / "cli").glob("*.py")), ids=lambda p: p.name)
def test_commands_import_only_light_modules_at_module_level(path):
    for module, at_top in imports(ast.parse(path.read_text("utf8")), everywhere=False):
        assert at_top
        light = module.startswith(LIGHT) or module == "keras_cnns"
        assert light or module.split(".")[0] in sys.stdlib_module_names, module


def test_nobody_imports_the_commands():
    """The generator of the documentation does: it prints their help."""
    for path in [*(ROOT / "keras_cnns").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        imports = re.search(r"keras_cnns\.cli|from cli\b|import cli\b", path.read_text("utf8"))
        assert bool(imports) == (path.name == "docs_pages.py"), path


def test_the_package_list_is_the_tree():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split("\n")) - {""}
    listed = {line for line in listed if not line.startswith("#")}
    tree = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "keras_cnns").rglob("__init__.py")}
    assert listed == tree | {"keras_cnns.cli", "keras_cnns.saved_models"}


@pytest.mark.parametrize("part", keras_cnns._PARTS)
def test_every_public_name_is_there(part):
    module = importlib.import_module(f"keras_cnns.{part}")
    assert getattr(keras_cnns, part) is module
    assert dir(module) == module.__all__ == sorted(module.__all__)  # and nothing that it imports
    for name in module.__all__:
        assert getattr(module, name).__doc__, name


@pytest.mark.slow
@pytest.mark.parametrize("level", [None, "0"])
def test_the_start_of_tensorflow_is_silent_unless_asked_for(python, level, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    if level:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    program = "import sys, keras_cnns; keras_cnns.layers; sys.stderr.write('said')"
    done = python(program + "; keras_cnns.applications.LeNet5(); assert 'tensorflow' in sys.modules")
    assert done.returncode == 0 and ("oneDNN" in done.stderr) == bool(level), done.stderr
    assert done.stderr.strip() == "said" or level


COMMAND = """
import gc, sys
from keras_cnns.cli import predict
try:
    predict.main(["nin:digits", sys.argv[1]])
except SystemExit as done:
    assert not done.code
assert "keras" in sys.modules and gc.isenabled() and gc.get_freeze_count() > 100_000
print({"jax", "matplotlib", "sklearn"} & set(sys.modules))
import matplotlib.pyplot, sklearn.base
"""


def test_commands_import_keras_without_what_they_do_not_use(python, tmp_path):
    """These imports would be a third of the time of a short command."""
    path = tmp_path / "black.png"
    Image.new("L", (32, 32)).save(path)
    done = python(COMMAND, path, PYTHONWARNINGS="ignore")
    assert done.returncode == 0 and done.stdout.endswith("set()\n"), done.stderr


def test_programs_import_keras_with_all_its_parts(python):
    done = python("import keras_cnns.layers, sys; print({'sklearn', 'matplotlib'} <= set(sys.modules))")
    assert done.stdout == "True\n", done.stderr


def test_the_garbage_collector_is_paused_and_left_as_it_was():
    with _quiet.uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with _quiet.uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_backend_of_keras_is_not_hidden(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.setattr(_quiet, "UNUSED", ("jax", "an_unknown_package", "pytest"))
    with _quiet.without_unused():
        assert "jax" not in sys.modules and sys.modules["an_unknown_package"] is None
        assert sys.modules["pytest"] is pytest
    assert "an_unknown_package" not in sys.modules


def test_unknown_names_are_attribute_errors():
    for module in (keras_cnns, keras_cnns.applications):
        with pytest.raises(AttributeError, match="no_such_thing"):
            module.no_such_thing  # noqa: B018


BLOCKED = without("keras", "tensorflow", "jax", "numpy")


def test_the_package_imports_nothing_heavy(python):
    done = python(BLOCKED + "import keras_cnns; print(keras_cnns.__version__); keras_cnns.applications.list_models()")
    assert done.returncode == 0 and done.stdout.strip() == keras_cnns.__version__, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option, text", [("--help", "Exit codes"), ("--version", keras_cnns.__version__)])
def test_help_and_version_need_no_framework(python, name, option, text):
    done = python(BLOCKED + f"from keras_cnns.cli.{name} import main; main([{option!r}])")
    assert done.returncode == 0 and text in done.stdout, done.stderr


WITHOUT_TENSORFLOW = {
    "analysis": None,  # all names
    "applications": None,
    "layers": None,
    "recipes": None,
    "saving": None,
    "training": ("callbacks", "compile_model", "freeze", "policy_for", "set_biases", "targets", "transfer_weights"),
}


def test_networks_and_training_functions_need_no_tensorflow_under_jax(python):
    program = without("tensorflow") + (
        "import keras_cnns\n"
        f"for part, names in {WITHOUT_TENSORFLOW}.items():\n"
        "    module = getattr(keras_cnns, part)\n"
        "    [getattr(module, name) for name in names or module.__all__]\n"
    )
    done = python(program, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr[-2000:]
