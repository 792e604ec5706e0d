"""Speed of training steps, compared with other builds of the same networks.

    python benchmarks/training_steps.py [--rounds 5] [--only nin] [--precision float32] [--isa AVX2]

Networks are those of their papers' sizes; all train by SGD with momentum, without dropout, in float32 and bfloat16.
Columns:

- ours, with the optimizer of `training.train`;
- keras: that of keras.applications; for AlexNet ours with native `groups=2`;
- torch and torch.compile: the networks of torch_twin.py in plain PyTorch, channels last, if PyTorch is installed. The
  goal is against the faster of the two;
- float32: NiN's bfloat16 beside its float32.

Each column is a process of its own, and all take turns. `--isa` limits TensorFlow and PyTorch to what an older
processor has. VGG16 needs 12 GB of memory. Compiling takes about as long as measuring: 20 minutes in all on two cores.
"""

import argparse
import dataclasses
import importlib.util
import os
import statistics
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import common
import processes

from keras_cnns import _machine

TORCH = ("torch", "torch.compile")  # the columns of PyTorch
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # name: Keras's dtype policy


@dataclasses.dataclass(frozen=True)
class Case:
    """A network and what it is compared with.

    Attributes:
        batch: number of images.
        builder: name of our builder.
        options: arguments of our builder.
        keras: how many times faster than the other Keras network ours should be, by precision. Empty: there is none.
        torch: how many times faster than the faster of the two PyTorch columns ours should be.
        faster: how many times faster bfloat16 should be than float32, on processors with AMX. None: not compared.
    """

    batch: int
    builder: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keras: Mapping[str, float] = dataclasses.field(default_factory=dict)
    torch: float = 1.0
    faster: float | None = None


NO_DROPOUT = {"dropout": 0.0}
CASES = {
    "nin": Case(128, "NiN", NO_DROPOUT, torch=1.15, faster=2.3),
    "alexnet": Case(32, "AlexNet", NO_DROPOUT, keras={"float32": 4.0, "bfloat16": 7.0}),
    "alexnet_one_tower": Case(32, "AlexNetOneTower", NO_DROPOUT),
    "vgg16": Case(8, "VGG16", NO_DROPOUT, keras={"float32": 1.0, "bfloat16": 1.0}),
    "googlenet": Case(32, "GoogLeNet", NO_DROPOUT),
    "inception_v3": Case(16, "InceptionV3", {"scale": False, **NO_DROPOUT}, keras={"float32": 1.3, "bfloat16": 1.3}),
    "resnet50": Case(16, "ResNet50", keras={"float32": 1.25, "bfloat16": 1.5}, torch=1.15),
}


def keras_step(name: str, column: str, precision: str) -> Callable[[], Any]:
    """Return a function that trains a Keras network for one step on a fixed batch.

    Args:
        name: one of `CASES`.
        column: "ours" or "keras".
        precision: one of `PRECISIONS`.
    """
    import keras
    import numpy as np

    from keras_cnns import applications
    from keras_cnns.training import optimizers

    def native_alexnet() -> keras.Model:
        """Return AlexNet with Keras's own grouped convolutions."""
        ours = applications.AlexNet(dropout=0.0)
        x = inputs = keras.Input(ours.input_shape[1:])
        for layer in ours.layers[1:]:
            native = keras.layers.Conv2D if type(layer).__name__ == "SplitConv2D" else type(layer)
            x = native.from_config(layer.get_config())(x)
        return keras.Model(inputs, x, name="native")

    case = CASES[name]
    keras.config.set_dtype_policy(PRECISIONS[precision])
    if column == "ours":
        model = getattr(applications, case.builder)(**case.options)
    elif name == "alexnet":
        model = native_alexnet()
    else:
        model = getattr(keras.applications, case.builder)(weights=None)
    keras.config.set_dtype_policy("float32")
    sgd = optimizers.SGD if column == "ours" else keras.optimizers.SGD
    model.compile(sgd(1e-3, momentum=0.9), "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    x = random.normal(size=(case.batch, *model.input_shape[1:])).astype("float32")
    y = random.integers(0, model.output_shape[-1], case.batch)
    return lambda: model.train_on_batch(x, y)


def torch_step(name: str, column: str, precision: str) -> Callable[[], Any]:
    """Return a function that trains a PyTorch network for one step on a fixed batch.

    Args:
        name: one of `CASES`.
        column: "torch" or "torch.compile".
        precision: one of `PRECISIONS`.
    """
    import torch_twin

    if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2":
        import torch._inductor.config

        torch._inductor.config.cpp.simdlen = 256  # torch.compile's own loops
    return torch_twin.step(name, CASES[name].batch, precision == "bfloat16", compiled=column == "torch.compile")


def serve(name: str, column: str, precision: str) -> None:
    """Serve the steps of one column."""
    make = torch_step if column.startswith("torch") else keras_step
    processes.serve(make(name, column, precision))


def compare(name: str, precision: str, rounds: int, has_torch: bool) -> list[dict[str, Any]]:
    """Return the rows of one of `CASES` in one precision.

    Args:
        name: one of `CASES`.
        precision: one of `PRECISIONS`.
        rounds: timed steps of each column.
        has_torch: whether there are columns of PyTorch.
    """
    case = CASES[name]
    columns = {"ours": ("ours", precision)}
    if case.keras:
        columns["keras"] = ("keras", precision)
    if has_torch:
        columns |= {column: (column, precision) for column in TORCH}
    if case.faster and precision == "bfloat16":
        columns["float32"] = ("ours", "float32")
    commands = {
        column: ([__file__, "--serve", name, *arguments], dict[str, str]()) for column, arguments in columns.items()
    }
    with processes.processes(commands) as steps:
        for column in TORCH if has_torch else ():
            try:
                steps[column]()
            except RuntimeError:  # torch.compile needs a C++ compiler
                steps.pop(column).close()
                print(f"{name}: {column} fails, and its column is missing")
        times = common.interleave(steps, rounds)
    title = f"{name}, {PRECISIONS[precision]}, batch {case.batch}"
    rows = []
    if case.keras:
        rows.append(common.row(title, times, "ours", "keras", case.keras[precision]))
    if peers := [column for column in TORCH if column in times]:
        faster = min(peers, key=lambda column: statistics.median(times[column]))
        rows.append(common.row(f"{title}, beside PyTorch", times, "ours", faster, case.torch))
    if "float32" in columns:
        rows.append(
            common.row(f"{name}, bfloat16 beside float32, batch {case.batch}", times, "ours", "float32", case.faster)
        )
    return rows


def limit(isa: str) -> None:
    """Limit the kernels of TensorFlow and PyTorch to a set of instructions.

    Args:
        isa: oneDNN's name of the set, such as AVX2.
    """
    vectors = "avx2" if isa.startswith("AVX2") else "avx512"
    os.environ.update(ONEDNN_MAX_CPU_ISA=isa, ATEN_CPU_CAPABILITY=vectors, MKL_ENABLE_INSTRUCTIONS=vectors.upper())


def computes_bfloat16(isa: str | None) -> bool:
    """Return whether the processor has instructions for bfloat16; emulation takes a hundred times longer.

    Args:
        isa: the set of instructions to which kernels are limited, or None.
    """
    allowed = isa is None or not isa.startswith(("SSE", "AVX2")) and isa not in ("AVX512_CORE", "AVX512_CORE_VNNI")
    return allowed and not {"avx512_bf16", "amx_bf16"}.isdisjoint(_machine.instructions())


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--precision", choices=PRECISIONS)
    parser.add_argument("--isa", help="of an older processor, as AVX2 or AVX512_CORE")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve)
        return
    if arguments.isa:
        limit(arguments.isa)
    precisions = [arguments.precision] if arguments.precision else list(PRECISIONS)
    if "bfloat16" in precisions and not computes_bfloat16(arguments.isa):
        precisions.remove("bfloat16")
        print("bfloat16 is not measured: the processor would emulate it")
    has_torch = importlib.util.find_spec("torch") is not None
    if not has_torch:
        print("PyTorch is not installed, and its columns are missing: pip install torch==2.13.0")
    rows = []
    for name in arguments.only or CASES:
        for precision in precisions:
            rows += compare(name, precision, arguments.rounds, has_torch)
        # After each network, so that a failure loses nothing
        common.write("training_steps", rows, partial=bool(arguments.only or arguments.precision or arguments.isa))


if __name__ == "__main__":
    main()
