"""The examples in docstrings run as they stand, and show what they say."""

import ast
import doctest
import importlib
import inspect
import socket

import pytest
from conftest import ROOT

import keras_cnns

FOLDERS = ("keras_cnns", "cli")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Examples that take more than about half a second of processor time
SLOW = """
    analysis.deconvnet.draw_projections
    analysis.snapshots.FeatureSnapshots
    applications.alexnet.AlexNet
    applications.crf_rnn.CRFasRNN
    applications.deeplab.DeepLabASPP
    applications.deeplab.DeepLabLargeFOV
    applications.fcn.FCN16s
    applications.fcn.FCN32s
    applications.fcn.FCN8s
    applications.googlenet.GoogLeNet
    applications.inception_v2.InceptionV2
    applications.inception_v3.InceptionV3
    applications.nin.NiN
    applications.resnet.ResNet18
    applications.resnet.ResNet34
    applications.resnet.ResNet50
    applications.resnet.ResNet101
    applications.resnet.ResNet152
    applications.resnet_cifar.ResNet20
    applications.resnet_cifar.ResNet32
    applications.resnet_cifar.ResNet44
    applications.resnet_cifar.ResNet56
    applications.resnet_cifar.ResNet110
    applications.resnet_v2.ResNet18V2
    applications.resnet_v2.ResNet34V2
    applications.resnet_v2.ResNet50V2
    applications.resnet_v2.ResNet101V2
    applications.resnet_v2.ResNet152V2
    applications.vgg.VGG11
    applications.vgg.VGG11LRN
    applications.vgg.VGG13
    applications.vgg.VGG16
    applications.vgg.VGG16C
    applications.vgg.VGG19
    data.on_device.keep_on_device
    evaluation.corruption.Robustness
    evaluation.corruption.robustness
    evaluation.evaluator.evaluate
    evaluation.plots.draw_mistakes
    export._benchmark.Benchmark
    export._benchmark.benchmark
    export._verify.verify
    export.exporter.export_model
    export.reports.Report
    export.runtimes.open_artifact
    training._callbacks.callbacks
    training._train.train
    training.compilation.targets
    training.transfer.transfer_weights
""".split()


def documented(tree, prefix=""):
    """Yield (qualified name, node) of each module, class and function with a docstring."""
    for node in [tree] if isinstance(tree, ast.Module) and not prefix else []:
        yield "", node
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            name = f"{prefix}{node.name}"
            yield name, node
            yield from documented(node, f"{name}.")


def docstring_examples():
    """Yield a doctest for each docstring that holds an example; none shares a name with another."""
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for name, node in documented(ast.parse(path.read_text("utf8"))):
            text = ast.get_docstring(node, clean=False) or ""
            if ">>>" in text:
                place = ".".join(path.relative_to(ROOT).with_suffix("").parts[1:]).removesuffix(".__init__")
                title = f"{place}.{name}".strip(".")
                line = node.body[0].lineno - 1
                yield doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, title, str(path), line)


EXAMPLES = list(docstring_examples())


def docstring_before(example):
    """Return the text of a docstring up to its first example."""
    return (example.docstring or "").partition(">>>")[0]


@pytest.mark.parametrize(
    "example",
    [pytest.param(e, id=e.name, marks=[pytest.mark.slow] * (e.name in SLOW)) for e in EXAMPLES],
)
def test_example_runs_as_it_stands(example, tmp_path, monkeypatch):
    """Without names from elsewhere, without the network, in a folder of its own."""

    def refuse(self, address):
        raise OSError(f"an example connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=report.append)
    assert not report, "".join(report)


def test_slow_examples_exist():
    assert set(SLOW) - {example.name for example in EXAMPLES} == set()


def test_examples_stand_in_their_section():
    """mkdocstrings shows code only in a section called `Examples`; `>>>` elsewhere becomes a quotation."""
    astray = [example.name for example in EXAMPLES if "Examples:" not in docstring_before(example)]
    assert astray == []


@pytest.mark.parametrize("part", keras_cnns._PARTS)
def test_every_public_function_and_layer_shows_a_result(part):
    """So does every other class that has an example."""
    module = importlib.import_module(f"keras_cnns.{part}")
    lacking = []
    for name in module.__all__:
        value = getattr(module, name)
        examples = doctest.DocTestParser().get_examples((callable(value) and value.__doc__) or "")
        needed = examples or inspect.isfunction(value) or part == "layers"
        if needed and not any(example.want for example in examples):
            lacking.append(name)
    assert lacking == []
