"""Training throughput on a GPU under JAX, compared with PyTorch.

    python benchmarks/gpu_training.py [--rounds 5] [--only resnet50]

ResNet-50, VGG-16, Inception v3 and NiN train in bfloat16, with images on the device. The first three are compared with
torchvision's networks under torch.compile, channels last; without torchvision, ResNet-50 is compared with the one in
torch_twin.py (goal for ResNet-50: 0.9 of it). NiN with its images on the device is also compared with `fit` from NumPy
arrays (goal: 5 times).

Without a GPU the script runs on a few small batches and says that its numbers mean nothing. Neither tensorflow nor
PyTorch is needed; comparisons with a missing package are left out.
"""

import argparse
import importlib.util
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leaves memory for PyTorch

import common
import keras
import numpy as np

from keras_cnns import applications, data

# Name: side, batch on a GPU, our network, name in torchvision, goal
CASES = {
    "resnet50": (224, 256, applications.ResNet50, "resnet50", 0.9),
    "vgg16": (224, 128, lambda: applications.VGG16(dropout=0.0), "vgg16", None),
    "inception_v3": (299, 128, lambda: applications.InceptionV3(dropout=0.0), "inception_v3", None),
    "nin": (32, 512, lambda: applications.NiN(dropout=0.0), None, None),
}


def random_images(count: int, side: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random uint8 images and labels."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, side, side, 3), dtype="uint8"), random.integers(0, classes, count)


def ours(
    build: Callable[[], keras.Model], side: int, batch: int, steps: int, on_device: bool = True
) -> Callable[[], Any]:
    """Return a function that trains our network for some steps.

    Args:
        build: returns the network.
        side: of the images in pixels.
        batch: images per step.
        steps: per call.
        on_device: whether the images are kept on the device.
    """
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build()
    images, labels = random_images(batch * steps, side, model.output_shape[-1])
    record = data.Preprocessing((side, side), mean=(127.5,), scale=(1 / 64,))
    if on_device:
        trainer, inputs = data.keep_on_device(model, images, record, augmentation="none"), np.arange(len(images))
    else:
        trainer, inputs = model, record.normalize(images.astype("float32"))
    trainer.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "sparse_categorical_crossentropy")
    return lambda: trainer.fit(inputs, labels, batch_size=batch, verbose=0, shuffle=False)


def theirs(name: str, side: int, batch: int, steps: int, device: str) -> Callable[[], float] | None:
    """Return a function that trains PyTorch's network for some steps.

    Args:
        name: of the network in torchvision.
        side: of the images in pixels.
        batch: images per step.
        steps: per call.
        device: "cuda" or "cpu".

    Returns:
        The function; None if there is no such network.
    """
    if not importlib.util.find_spec("torch"):
        return None
    import torch

    if importlib.util.find_spec("torchvision"):
        import torchvision

        options = {"aux_logits": False, "init_weights": True} if name == "inception_v3" else {}
        model = getattr(torchvision.models, name)(**options)
    elif name == "resnet50":
        import torch_twin

        model = torch_twin.resnet50()
    else:
        return None
    model = model.to(device, memory_format=torch.channels_last)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    compiled = torch.compile(model) if device == "cuda" else model  # on a CPU compiling takes longer than these steps
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    images, labels = random_images(batch * steps, side, 1000)
    images, labels = torch.tensor(images.transpose(0, 3, 1, 2), device=device), torch.tensor(labels, device=device)

    def train() -> float:
        for k in range(0, len(images), batch):
            x = (images[k : k + batch].float() - 127.5) / 64
            x = x.contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(compiled(x), labels[k : k + batch])
            loss.backward()
            optimizer.step()
        return loss.item()  # waits for the device

    return train


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=CASES, action="append")
    arguments = parser.parse_args()
    on_gpu = any(device.startswith(("gpu", "cuda")) for device in keras.distribution.list_devices())
    device, rounds = ("cuda", arguments.rounds) if on_gpu else ("cpu", 1)
    if not on_gpu:
        print("There is no GPU: batches of 2, one round. These numbers say only that the script runs.")
    rows = []
    for name in arguments.only or CASES:
        side, batch, build, twin, goal = CASES[name]
        batch, steps = (batch, 16) if on_gpu else (2, 2)
        functions = {"ours": ours(build, side, batch, steps)}
        if twin and (function := theirs(twin, side, batch, steps, device)):
            functions["torch"] = function
        times = common.interleave(functions, rounds)
        if "torch" in functions:
            rows.append(common.row(f"{name}, bfloat16, batch {batch}", times, "ours", "torch", goal))
        else:
            print(f"{name}: no network of PyTorch to compare with")
        if name == "nin":
            functions["from NumPy"] = ours(build, side, batch, steps, on_device=False)
            times = common.interleave(functions, rounds)
            rows.append(common.row(f"{name}, on the device, batch {batch}", times, "ours", "from NumPy", 5.0))
        speed = batch * steps / min(times["ours"])
        print(f"{name}: {speed:,.0f} images per second")
        rows.append({"case": f"{name}, images a second", "ours": round(speed, 1)})
        del functions
    if on_gpu:
        common.write("gpu_training", rows, partial=bool(arguments.only))


if __name__ == "__main__":
    main()
