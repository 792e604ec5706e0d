"""The programs of README and docs/ run, their commands parse, and their links lead somewhere."""

import ast
import collections
import functools
import importlib
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from conftest import ROOT

RUNTIMES = ROOT / ".venv-runtimes" / "bin" / "python"
RUNTIME_MODULES = {"cv2", "openvino", "tflite_micro"}  # installed there only
PAGES = {path.relative_to(ROOT).as_posix(): path for path in (*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md"))}
TEXTS = {name: path.read_text("utf8") for name, path in PAGES.items()}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
COMMANDS = ("train", "evaluate", "predict", "export", "benchmark", "info", "data", "visualize")
# README.zh.md has README's programs, as another test says
WITH_PROGRAMS = [name for name, text in TEXTS.items() if "```python\n" in text and name != "README.zh.md"]
QUICK = {"docs/guides/costs.md", "docs/guides/data.md", "docs/guides/other_models.md"}


def programs(page):
    """Return the programs of a page as (interpreter, source).

    The first holds all blocks for this interpreter, on the same lines as in the page. Each block for another runtime
    is a program of its own.
    """
    text, here, others = TEXTS[page], [], []
    for block in FENCE.finditer(text):
        if block[1] != "python":
            continue
        imports = [node for node in ast.walk(ast.parse(block[2])) if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {name.name.split(".")[0] for node in imports for name in node.names}
        names |= {(getattr(node, "module", None) or "").split(".")[0] for node in imports}
        if names & RUNTIME_MODULES:
            others.append((RUNTIMES, block[2]))
        else:
            here.append((text.count("\n", 0, block.start(2)), block[2]))
    lines = [""] * (text.count("\n") + 1)
    for start, source in here:
        lines[start : start + source.count("\n")] = source.splitlines()
    return [(Path(sys.executable), "\n".join(lines)), *others]


@pytest.mark.parametrize("page", [page for page in WITH_PROGRAMS if page in QUICK])
def test_quick_programs_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (_, program), *others = programs(page)
    assert not others
    exec(compile(program, page, "exec"), {"__name__": "__main__"})


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in WITH_PROGRAMS if page not in QUICK])
def test_programs_run(page, tmp_path):
    prepare(page, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "examples")}
    output, missing = "", []
    for interpreter, program in programs(page):
        if not interpreter.exists():
            missing.append(interpreter)
            continue
        (tmp_path / "program.py").write_text(program, "utf8")
        done = subprocess.run(
            [interpreter, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        if "imagenet" in program and "cannot be fetched" in done.stderr:
            pytest.skip("Keras's files cannot be fetched here")
        assert done.returncode == 0, done.stderr
        output += done.stdout
    if page == "README.md":
        assert float(re.search(r"'top1': ([0-9.]+)", output)[1]) >= 0.95
        exports = sorted(path.name for path in (tmp_path / "exports").iterdir())
        assert exports == ["lenet5.onnx", "lenet5.tflite", "lenet5_saved_model", "manifest.json"]
    if missing:
        pytest.skip("the programs for other runtimes did not run: make .venv-runtimes/.installed")


def prepare(page, folder):
    """Make the files that the shell commands of a page make, as far as its programs need them."""
    if page != "docs/guides/deployment.md":
        return
    from PIL import Image

    from keras_cnns import applications, data, export

    path = applications.weights_info("NiN", "digits").path
    export.export_model(path, folder / "exports", ["saved_model", "tflite", "onnx"], stem="nin-digits")
    options = export.Options(quantize="int8", integer_only=True)
    export.export_model(path, folder / "exports", ["tflite"], options, stem="nin-digits", overwrite=True)
    Image.fromarray(data.open_source("digits").split("test").items[0].squeeze(-1)).save(folder / "image.png")


def test_every_page_with_quick_programs_exists():
    assert set(WITH_PROGRAMS) >= QUICK


def command_lines(text):
    """Return [(command, arguments), ...] of the shell lines of a page."""
    indented = re.findall(r"^ {4}(\S.*)$", text, re.M)
    fenced = [line for language, block in FENCE.findall(text) if language in ("sh", "") for line in block.splitlines()]
    found = []
    for line in (*indented, *fenced):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a line of a program in another language
            continue
        for k, word in enumerate(words):
            if word.removeprefix("cnn-") in COMMANDS and word.startswith("cnn-"):
                found.append((word.removeprefix("cnn-"), words[k + 1 :]))
                break
    return found


@functools.cache
def command_of(name):
    return importlib.import_module(f"keras_cnns.cli.{name}").command


@functools.cache
def options_of(name):
    options = [parameter for parameter in command_of(name).params if isinstance(parameter, click.Option)]
    return {flag for option in options for flag in (*option.opts, *option.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("page", TEXTS)
def test_command_lines_parse(page):
    for name, arguments in command_lines(TEXTS[page]):
        command = command_of(name)
        if "..." in arguments:  # stands for arguments that do not matter there
            command.make_parser(click.Context(command)).parse_args([word for word in arguments if word != "..."])
        else:
            command.make_context(f"cnn-{name}", arguments)


@pytest.mark.parametrize("page", TEXTS)
def test_options_in_the_text_exist(page):
    """In text, an option may stand alone, or after its command without its value."""
    known = set().union(*map(options_of, COMMANDS))
    # Options of pip, make, scripts and of programs that other people run
    known |= {"--smoke", "--on-device", "--write", "--scaling", "--ntasks"}
    known |= {"--only", "--rounds", "--isa", "--foreign", "--torch-python"}
    for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", FENCE.sub("", TEXTS[page])):
        command = re.match(r"cnn-(\w+)", code)
        allowed = options_of(command[1]) if command and command[1] in COMMANDS else known
        assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", code)) <= allowed, code


@pytest.mark.parametrize("page", TEXTS)
def test_make_targets_and_programs_exist(page):
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text("utf8"), re.M))
    code = "\n".join((*re.findall(r"(?<!`)`([^`]+)`(?!`)", TEXTS[page]), *re.findall(r"^ {4}(.*)$", TEXTS[page], re.M)))
    assert set(re.findall(r"^make ([\w-]+)", code, re.M)) <= targets
    for path in re.findall(r"(?:^|python )((?:scripts|benchmarks|examples)/[\w/]+\.\w+)", code, re.M):
        assert (ROOT / path).exists(), path


def links(text):
    """Return the relative links of a page: [(path, anchor), ...]."""
    found = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text))
    return [link.partition("#")[::2] for link in found if not re.match(r"https?:|mailto:", link)]


def anchors(text):
    """Return the anchors of a page's headings, as mkdocs and GitHub make them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.M)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


@pytest.mark.parametrize("page", TEXTS)
def test_relative_links_exist(page):
    navigation = (ROOT / "mkdocs.yml").read_text("utf8")
    for path, anchor in links(TEXTS[page]):
        target = (PAGES[page].parent / path).resolve() if path else PAGES[page]
        if page.startswith("docs/"):
            assert target.is_relative_to(ROOT), path
        if not target.exists():  # pages that are generated stand in the navigation, and mkdocs checks them
            assert page.startswith("docs/"), path
            assert f" {target.relative_to(ROOT / 'docs').as_posix()}\n" in navigation, path
        elif anchor:
            assert anchor in anchors(target.read_text("utf8")), f"{path}#{anchor}"


def test_the_chinese_readme_keeps_step():
    english, chinese = TEXTS["README.md"], TEXTS["README.zh.md"]
    levels = [[len(mark) for mark in re.findall(r"^(#+) ", text, re.M)] for text in (english, chinese)]
    assert levels[0] == levels[1]
    assert FENCE.findall(english) == FENCE.findall(chinese)
    indented = [re.findall(r"^ {4}\S.*?(?=  +#|$)", text, re.M) for text in (english, chinese)]
    assert indented[0] == indented[1]
    others = [
        [link for link in re.findall(r"\]\(([^)]+)\)", text) if "README" not in link] for text in (english, chinese)
    ]
    assert collections.Counter(others[0]) == collections.Counter(others[1])
    tables = [re.findall(r"^\| [^`].*`.*$", text, re.M) for text in (english, chinese)]
    assert [row.replace(" to ", " 至 ") for row in tables[0]] == tables[1]  # the networks
    tables = [re.findall(r"^\| (`.*`) \|", text.replace("、", ", "), re.M) for text in (english, chinese)]
    assert tables[0] == tables[1]  # the extras
    assert len(english.splitlines()) <= 130


def test_the_table_of_expected_scaling_is_up_to_date(monkeypatch):
    """`python benchmarks/devices.py --scaling` prints its numbers."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    rows = runpy.run_path(str(ROOT / "benchmarks" / "devices.py"))["scaling"]()
    page = TEXTS["docs/guides/devices.md"]
    assert len(rows) == 9
    for name in {row["network"] for row in rows}:
        shares = " | ".join(f"{row['expected']:.0%}".replace("%", " %") for row in rows if row["network"] == name)
        assert f"| `{name}` | {shares} |" in page
    for devices in {row["devices"] for row in rows}:
        assert devices in page
