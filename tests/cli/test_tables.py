"""Tables fit the terminal without breaking a name."""

import os
import pty
import struct
import subprocess
import sys
import termios
from fcntl import ioctl

import numpy as np
import pytest
from conftest import ROOT
from keras_cnns.cli import _tables
from keras_cnns.cli._tables import Column
from rich.cells import cell_len

from keras_cnns import recipes
from keras_cnns.applications._facts import FACTS

COLUMNS = [
    Column("file"),
    Column("note", rank=3, wraps=10),
    Column("size", "right", rank=2),
    Column("accuracy", "right", rank=1),
]
ROWS = [("a_long_name.tflite", "some words that wrap", "1.20 MB", "99.72%"), ("猫猫.onnx", "-", "0.50 MB", "7.00%")]


@pytest.mark.parametrize(
    "width, left_out",
    [(200, []), (51, []), (50, ["note"]), (39, ["note"]), (38, ["note", "size"]), (30, ["note", "size"])],
)
def test_columns_that_do_not_fit_are_left_out_by_rank(width, left_out):
    lines, missing = _tables.layout(COLUMNS, ROWS, width)
    assert missing == left_out and max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    assert all(name in text for name, *_ in ROWS) and ("1.20 MB" in text) == ("size" not in left_out)
    # With wide characters the right edges still agree
    assert len({cell_len(line) for line in lines if line.endswith(("%", "accuracy"))}) == 1


def test_a_name_wider_than_the_terminal_gets_its_own_line():
    columns = [Column("image"), Column("class", rank=0), Column("probability", "right", rank=0)]
    rows = [("a folder/a long name.png", "cat", "90.00%"), ("", "dog", "10.00%"), ("b.png", "cat", "1.00%")]
    assert _tables.layout(columns, rows, 24) == (
        [
            "  image",
            "    class  probability",
            "   ───────────────────",
            "  a folder/a long name.png",
            "    cat         90.00%",
            "    dog         10.00%",
            "  b.png",
            "    cat          1.00%",
        ],
        [],
    )


def test_long_texts_wrap_in_their_own_column():
    columns = [Column("a"), Column("b", rank=0, wraps=8)]
    lines, _ = _tables.layout(columns, [("name", "one two three four"), ("name", "unbreakableword x")], 24)
    assert lines[2:] == ["  name  one two three", "        four", "  name  unbreakableword", "        x"]


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize(
    "arguments, names",
    [
        ([], list(FACTS)),
        (["GoogLeNet"], ["inception_3a_double3x3", "inception_5b_pool_proj", "loss"]),
        (["LeNet5", "NiN", "nin:fashion_mnist"], ["LeNet5", "NiN", "nin:fashion_mnist"]),
        (["NiN", "--recipe"], [name for name, recipe in recipes.RECIPES.items() if recipe.suits("NiN")]),
        (["VGG16", "--recipe"], ["vgg-imagenet", "learning_rate"]),
    ],
)
def test_tables_of_cnn_info_fit_every_width(cli, monkeypatch, columns, arguments, names):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, err = cli("info", *arguments)
    body = out[out.index(" ──") :]
    words = out.split()
    assert code == 0 and all(name in words for name in names if name in FACTS or "-" in name), columns
    assert max(map(cell_len, body.splitlines())) <= columns
    if arguments == []:
        assert len(out.splitlines()) < 95 and ("(--wide prints all columns" in err) == (columns < 200)


def test_other_tables_fit_every_width(capfd, monkeypatch):
    """Only the tables are printed, as the commands would take long."""
    from keras_cnns.cli import _reports

    from keras_cnns.evaluation import score
    from keras_cnns.export import _benchmark

    names = ["golden retriever", "flat-coated retriever", "Chesapeake Bay retriever"]
    result = score(np.eye(3)[[0, 1, 1, 0]], [0, 1, 2, 0], names)
    timings = tuple(_benchmark.Timing(batch, 0.0123, 0.0134, 1234.5) for batch in (1, 32))
    rows = tuple(
        _benchmark.BenchmarkRow(name, "ONNX Runtime", "int8", 1_234_567, 234_567_890, 0.9972, None, timings)
        for name in ("resnet50-photographs", "resnet50-photographs-int8.onnx")
    )
    measured = _benchmark.Benchmark("360 images", 360, 0, 20, "2 cores", {}, rows)
    for columns in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        _reports.print_result("title", result, None)
        _reports.print_benchmark(measured)
        lines = capfd.readouterr().out.splitlines()
        printed = "\n".join(lines)
        assert max(map(len, (line for line in lines if line.startswith("  ")))) <= columns
        assert all(f"  {name}" in printed for name in (*names, *(row.name for row in rows)))
        assert ("batch 32" in printed) == (columns > 40) and ("p90" in printed) == (columns == 200)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_tables_fit_a_terminal(columns):
    """Without the variable COLUMNS, the width is that of the terminal."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    source = "from keras_cnns.cli.info import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=theirs, stderr=subprocess.PIPE, cwd=ROOT, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 10_000):
            shown += part
    except OSError:  # Linux reports the end of a terminal like this
        pass
    lines = shown.decode().replace("\r\n", "\n").splitlines()
    err = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 0 and columns - 10 <= max(map(cell_len, lines)) <= columns
    assert {"LeNet5Modern", "AlexNetOneTower"} <= {line.split()[0] for line in lines}
    assert ("no room for: paper" in err) == (columns < 200)


def test_tables_have_80_columns_through_a_pipe(python):
    environment = {"COLUMNS": "", "PYTHONIOENCODING": "utf8"}
    narrow = python("from keras_cnns.cli.info import main; main([])", **environment)
    wide = python("from keras_cnns.cli.info import main; main(['--wide'])", **environment)
    assert max(map(len, narrow.stdout.splitlines())) <= 80 and "no room for: paper" in narrow.stderr
    assert wide.stderr == "" and "He et al. 2016, arXiv 1512.03385" in wide.stdout
