"""The notebooks run, and their pages show all of their cells."""

import ast
import os
import sys

import notebook_pages
import pytest
from conftest import ROOT

FOLDER = ROOT / "docs" / "notebooks"
NAMES = ("digits", "look_inside", "own_folder")
SECONDS = 600  # for a notebook; each takes less than two minutes on two free cores


def test_every_notebook_is_tested():
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.py"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_every_cell(name):
    source, page = (FOLDER / f"{name}.py").read_text("utf8"), notebook_pages.page(FOLDER / f"{name}.py")
    assert page.startswith("# ") and "\n# " not in page.replace(page[page.index("```") :], "")
    kinds = [kind for kind, _ in notebook_pages.cells(source)]
    assert kinds.count("markdown") >= 5 and kinds.count("code") == page.count("```python") + source.count("\n# !cnn-")
    shown = page.splitlines()
    for line in source.partition("# %%")[2].splitlines()[1:]:
        if not line.startswith("# %%"):
            assert any(text in shown for text in (line, line[2:], f"    {line.removeprefix('# !')}")), line
    for block in page.split("```python\n")[1:]:
        ast.parse(block.partition("```")[0])


def test_a_markdown_cell_with_code_is_refused():
    with pytest.raises(ValueError, match="must start with '# '"):
        list(notebook_pages.cells("# %% [markdown]\n# text\nprint(1)\n"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    jupytext = pytest.importorskip("jupytext", reason="jupytext is not installed (the extra `notebooks`)")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (the extra `notebooks`)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (the extra `notebooks`)")
    # Commands are started by their names
    monkeypatch.setenv("PATH", os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    notebook = jupytext.read(FOLDER / f"{name}.py")
    nbclient.NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    if folder := os.environ.get("NOTEBOOKS_OUTPUT"):  # to look at their images
        jupytext.write(notebook, os.path.join(folder, f"{name}.ipynb"))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    commands = [cell for cell in code if cell.source.startswith("!")]
    outputs = [output for cell in code for output in cell.outputs]
    assert len(commands) == (FOLDER / f"{name}.py").read_text("utf8").count("\n# !cnn-")
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    texts = "".join(output.get("text", "") for output in outputs)
    assert "Traceback" not in texts and "command not found" not in texts and "\x1b[2K" not in texts
    check(name, texts)


def check(name, texts):
    """Compare what a notebook printed with what its text promises."""
    if name == "digits":
        assert "349,674 parameters" in texts and texts.count("same class for 100% of 360 images") == 2
        share = float(texts.split("% of 360 test images")[0].split()[-1])
        assert share > 90
    elif name == "own_folder":
        fine_tuned = float(texts.split("fine-tuned: ")[1].split("%")[0])
        scratch = float(texts.split("from scratch: ")[1].split("%")[0])
        assert fine_tuned > 80 and fine_tuned > scratch
        assert "3 classes" in texts and "disc/180.png" in texts  # what the two commands print
    else:
        assert float(texts.split("largest difference from the logits: ")[1].split()[0]) < 1e-4
        assert texts.count("channels; one position sees") == 3
