"""The networks of training_steps.py in plain PyTorch, to compare ours with.

They are written from the papers' tables. Modules have the names of our layers, so `copy_weights` finds their weights.
PyTorch is used if it is installed, and is not a dependency.
"""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

Named = dict[str, nn.Module]  # modules by the names of our layers, in order


class Chain(nn.Sequential):
    """Named modules in sequence."""

    def __init__(self, *parts: Named) -> None:
        super().__init__(OrderedDict((name, module) for part in parts for name, module in part.items()))


class Branches(nn.Module):
    """Chains with the same input, whose outputs are joined along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the joined outputs."""
        return torch.cat([branch(x) for branch in self.branches], 1)


def conv(
    name: str,
    inputs: int,
    outputs: int,
    size: int,
    stride: int = 1,
    padding: int | None = None,
    groups: int = 1,
) -> Named:
    """Return a convolution with biases, and its ReLU.

    Args:
        name: name of our layer.
        inputs: channels of the input.
        outputs: channels of the output.
        size: side of the kernel.
        stride: step of the kernel.
        padding: rows of zeros at each edge. None keeps height and width with stride 1.
        groups: number of parts of the channels.
    """
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2 if padding is None else padding, groups=groups)
    return {name: convolution, f"{name}_relu": nn.ReLU(inplace=True)}


def dense(name: str, inputs: int, outputs: int, relu: bool = True) -> Named:
    """Return a dense layer, and its ReLU."""
    return {name: nn.Linear(inputs, outputs)} | ({f"{name}_relu": nn.ReLU(inplace=True)} if relu else {})


def nin() -> nn.Module:
    """Return Network in Network for CIFAR-10 (Lin et al. 2014, the author's widths)."""
    return Chain(
        conv("conv1", 3, 192, 5) | conv("cccp1", 192, 160, 1) | conv("cccp2", 160, 96, 1),
        {"pool1": nn.MaxPool2d(3, 2, ceil_mode=True)},
        conv("conv2", 96, 192, 5) | conv("cccp3", 192, 192, 1) | conv("cccp4", 192, 192, 1),
        {"pool2": nn.AvgPool2d(3, 2, ceil_mode=True)},
        conv("conv3", 192, 192, 3) | conv("cccp5", 192, 192, 1) | conv("cccp6", 192, 10, 1),
        {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()},
    )


def local_response_norm() -> nn.LocalResponseNorm:
    """Return AlexNet's normalization; PyTorch divides alpha by the number of channels, and the paper does not."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def alexnet() -> nn.Module:
    """Return AlexNet with two groups (Krizhevsky et al. 2012, figure 2)."""
    return Chain(
        conv("conv1", 3, 96, 11, 4, 0) | {"norm1": local_response_norm(), "pool1": nn.MaxPool2d(3, 2)},
        conv("conv2", 96, 256, 5, groups=2) | {"norm2": local_response_norm(), "pool2": nn.MaxPool2d(3, 2)},
        conv("conv3", 256, 384, 3) | conv("conv4", 384, 384, 3, groups=2) | conv("conv5", 384, 256, 3, groups=2),
        {"pool5": nn.MaxPool2d(3, 2), "flatten": nn.Flatten()},
        dense("fc6", 256 * 6 * 6, 4096) | dense("fc7", 4096, 4096) | dense("fc8", 4096, 1000, relu=False),
    )


def alexnet_one_tower() -> nn.Module:
    """Return AlexNet without groups (Krizhevsky 2014, footnote 1)."""
    return Chain(
        conv("conv1", 3, 64, 11, 4, 2) | {"pool1": nn.MaxPool2d(3, 2)},
        conv("conv2", 64, 192, 5) | {"pool2": nn.MaxPool2d(3, 2)},
        conv("conv3", 192, 384, 3) | conv("conv4", 384, 256, 3) | conv("conv5", 256, 256, 3),
        {"pool5": nn.MaxPool2d(3, 2), "flatten": nn.Flatten()},
        dense("fc6", 256 * 6 * 6, 4096) | dense("fc7", 4096, 4096) | dense("fc8", 4096, 1000, relu=False),
    )


def vgg16() -> nn.Module:
    """Return VGG16 (Simonyan and Zisserman 2015, table 1, column D)."""
    parts, inputs = [], 3
    for block, (count, outputs) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
        for k in range(1, count + 1):
            parts.append(conv(f"conv{block}_{k}", inputs, outputs, 3))
            inputs = outputs
        parts.append({f"pool{block}": nn.MaxPool2d(2)})
    classifier = dense("fc6", 512 * 7 * 7, 4096) | dense("fc7", 4096, 4096) | dense("fc8", 4096, 1000, relu=False)
    return Chain(*parts, {"flatten": nn.Flatten()}, classifier)


# Table 1, its rows: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj
GOOGLENET = {
    "inception_3a": (64, 96, 128, 16, 32, 32),
    "inception_3b": (128, 128, 192, 32, 96, 64),
    "pool3": None,
    "inception_4a": (192, 96, 208, 16, 48, 64),
    "inception_4b": (160, 112, 224, 24, 64, 64),
    "inception_4c": (128, 128, 256, 24, 64, 64),
    "inception_4d": (112, 144, 288, 32, 64, 64),
    "inception_4e": (256, 160, 320, 32, 128, 128),
    "pool4": None,
    "inception_5a": (256, 160, 320, 32, 128, 128),
    "inception_5b": (384, 192, 384, 48, 128, 128),
}


def googlenet() -> nn.Module:
    """Return GoogLeNet without auxiliary heads (Szegedy et al. 2015, table 1)."""
    parts = [
        conv("conv1_7x7_s2", 3, 64, 7, 2) | {"pool1": nn.MaxPool2d(3, 2, ceil_mode=True)},
        {"norm1": nn.LocalResponseNorm(5)} | conv("conv2_3x3_reduce", 64, 64, 1) | conv("conv2_3x3", 64, 192, 3),
        {"norm2": nn.LocalResponseNorm(5), "pool2": nn.MaxPool2d(3, 2, ceil_mode=True)},
    ]
    inputs = 192
    for name, row in GOOGLENET.items():
        if row is None:
            parts.append({name: nn.MaxPool2d(3, 2, ceil_mode=True)})
            continue
        conv1x1, reduce3x3, conv3x3, reduce5x5, conv5x5, projection = row
        module = Branches(
            Chain(conv(f"{name}_1x1", inputs, conv1x1, 1)),
            Chain(
                conv(f"{name}_3x3_reduce", inputs, reduce3x3, 1),
                conv(f"{name}_3x3", reduce3x3, conv3x3, 3),
            ),
            Chain(
                conv(f"{name}_5x5_reduce", inputs, reduce5x5, 1),
                conv(f"{name}_5x5", reduce5x5, conv5x5, 5),
            ),
            Chain({f"{name}_pool": nn.MaxPool2d(3, 1, 1)}, conv(f"{name}_pool_proj", inputs, projection, 1)),
        )
        parts.append({f"{name}_output": module})
        inputs = conv1x1 + conv3x3 + conv5x5 + projection
    return Chain(
        *parts,
        {"pool5": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()},
        dense("loss3_classifier", inputs, 1000, relu=False),
    )


def inception_v3() -> nn.Module:
    """Return Inception v3 (Szegedy et al. 2016; widths from the released code).

    It has no auxiliary head, and no factors in the batch normalization, as that of keras.applications.
    """

    def conv_bn(
        name: str, inputs: int, outputs: int, size: int | tuple[int, int], stride: int = 1, valid: bool = False
    ) -> Named:
        sizes = (size, size) if isinstance(size, int) else size
        padding = (0, 0) if valid or stride > 1 else (sizes[0] // 2, sizes[1] // 2)
        convolution = nn.Conv2d(inputs, outputs, sizes, stride, padding, bias=False)
        norm = nn.BatchNorm2d(outputs, 1e-3, 0.01)
        norm.weight.requires_grad_(False)  # PyTorch has no normalization with offsets and without factors
        return {name: convolution, f"{name}_bn": norm, f"{name}_relu": nn.ReLU(inplace=True)}

    def chain(inputs: int, module: str, *convolutions: tuple[str, int, Any], stride: int = 1) -> Chain:
        """Return convolutions (end of the name, channels, kernel size); the last one has the stride."""
        parts = []
        for k, (suffix, outputs, size) in enumerate(convolutions, 1):
            parts.append(conv_bn(f"{module}_{suffix}", inputs, outputs, size, stride if k == len(convolutions) else 1))
            inputs = outputs
        return Chain(*parts)

    def projection(inputs: int, module: str, outputs: int) -> Chain:
        pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        return Chain({f"{module}_pool": pool}, conv_bn(f"{module}_pool_proj", inputs, outputs, 1))

    parts: list[Named] = [
        conv_bn("conv1a", 3, 32, 3, 2) | conv_bn("conv2a", 32, 32, 3, valid=True) | conv_bn("conv2b", 32, 64, 3),
        {"pool1": nn.MaxPool2d(3, 2)},
        conv_bn("conv3b", 64, 80, 1) | conv_bn("conv4a", 80, 192, 3, valid=True),
        {"pool2": nn.MaxPool2d(3, 2)},
    ]
    inputs = 192
    for name, width in (("mixed_5b", 32), ("mixed_5c", 64), ("mixed_5d", 64)):
        module = Branches(
            chain(inputs, name, ("1x1", 64, 1)),
            chain(inputs, name, ("5x5_reduce", 48, 1), ("5x5", 64, 5)),
            chain(inputs, name, ("dbl_reduce", 64, 1), ("dbl_1", 96, 3), ("dbl_2", 96, 3)),
            projection(inputs, name, width),
        )
        parts.append({f"{name}_concat": module})
        inputs = 224 + width
    module = Branches(
        chain(inputs, "mixed_6a", ("3x3", 384, 3), stride=2),
        chain(inputs, "mixed_6a", ("dbl_reduce", 64, 1), ("dbl_1", 96, 3), ("dbl_2", 96, 3), stride=2),
        nn.MaxPool2d(3, 2),
    )
    parts.append({"mixed_6a_concat": module})
    inputs = 768
    for name, width in (("mixed_6b", 128), ("mixed_6c", 160), ("mixed_6d", 160), ("mixed_6e", 192)):
        double = [(f"7x7dbl_{k}", width if k < 5 else 192, (7, 1) if k % 2 == 0 else (1, 7)) for k in range(2, 6)]
        module = Branches(
            chain(inputs, name, ("1x1", 192, 1)),
            chain(inputs, name, ("7x7_1", width, 1), ("7x7_2", width, (1, 7)), ("7x7_3", 192, (7, 1))),
            chain(inputs, name, ("7x7dbl_1", width, 1), *double),
            projection(inputs, name, 192),
        )
        parts.append({f"{name}_concat": module})
    factorized = ("7x7x3_1", 192, 1), ("7x7x3_2", 192, (1, 7)), ("7x7x3_3", 192, (7, 1)), ("7x7x3_4", 192, 3)
    module = Branches(
        chain(inputs, "mixed_7a", ("3x3_1", 192, 1), ("3x3_2", 320, 3), stride=2),
        chain(inputs, "mixed_7a", *factorized, stride=2),
        nn.MaxPool2d(3, 2),
    )
    parts.append({"mixed_7a_concat": module})
    inputs = 1280
    for name in ("mixed_7b", "mixed_7c"):
        split_3x3 = Branches(
            *(chain(384, name, (f"3x3_2{end}", 384, size)) for end, size in (("a", (1, 3)), ("b", (3, 1))))
        )
        split_dbl = Branches(
            *(chain(384, name, (f"dbl_3{end}", 384, size)) for end, size in (("a", (1, 3)), ("b", (3, 1))))
        )
        module = Branches(
            chain(inputs, name, ("1x1", 320, 1)),
            nn.Sequential(chain(inputs, name, ("3x3_1", 384, 1)), split_3x3),
            nn.Sequential(chain(inputs, name, ("dbl_1", 448, 1), ("dbl_2", 384, 3)), split_dbl),
            projection(inputs, name, 192),
        )
        parts.append({f"{name}_concat": module})
        inputs = 2048
    return Chain(
        *parts, {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}, dense("fc", inputs, 1000, relu=False)
    )


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1, and their shortcut (He et al. 2016, figure 5)."""

    def __init__(self, name: str, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.residual = Chain(
            _resnet_conv(f"{name}_conv1", inputs, width, 1, stride),
            _resnet_conv(f"{name}_conv2", width, width, 3),
            _resnet_conv(f"{name}_conv3", width, 4 * width, 1, relu=False),
        )
        projection = _resnet_conv(f"{name}_shortcut", inputs, 4 * width, 1, stride, relu=False)
        self.shortcut = nn.Identity() if inputs == 4 * width and stride == 1 else Chain(projection)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        return torch.relu_(self.residual(x) + self.shortcut(x))


def _resnet_conv(name: str, inputs: int, outputs: int, size: int, stride: int = 1, relu: bool = True) -> Named:
    """Return a convolution without bias, its batch normalization and its ReLU."""
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    named: Named = {name: convolution, f"{name}_bn": nn.BatchNorm2d(outputs)}
    return named | ({f"{name}_relu": nn.ReLU(inplace=True)} if relu else {})


def resnet50() -> nn.Module:
    """Return ResNet-50 (He et al. 2016, table 1), with the strides in the first 1x1 convolutions."""
    parts, inputs = [_resnet_conv("conv1", 3, 64, 7, 2) | {"pool1": nn.MaxPool2d(3, 2, 1)}], 64
    for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for k in range(1, count + 1):
            stride = 2 if k == 1 and stage > 2 else 1
            parts.append({f"conv{stage}_{k}": Bottleneck(f"conv{stage}_{k}", inputs, width, stride)})
            inputs = 4 * width
    return Chain(
        *parts, {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}, dense("fc", inputs, 1000, relu=False)
    )


@dataclasses.dataclass(frozen=True)
class Twin:
    """A network in PyTorch.

    Attributes:
        build: function that returns it, with random weights.
        side: height and width of its images.
        parameters: number of its trainable parameters, which is ours.
        classes: number of its classes.
    """

    build: Callable[[], nn.Module]
    side: int
    parameters: int
    classes: int = 1000


TWINS = {
    "nin": Twin(nin, 32, 966_986, classes=10),
    "alexnet": Twin(alexnet, 227, 60_965_224),
    "alexnet_one_tower": Twin(alexnet_one_tower, 224, 61_100_840),
    "vgg16": Twin(vgg16, 224, 138_357_544),
    "googlenet": Twin(googlenet, 224, 6_998_552),
    "inception_v3": Twin(inception_v3, 299, 23_817_352),
    "resnet50": Twin(resnet50, 224, 25_557_032),
}


def build(name: str) -> nn.Module:
    """Return a network of `TWINS`, after counting its parameters."""
    model = TWINS[name].build()
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    if parameters != TWINS[name].parameters:
        raise AssertionError(f"{name} has {parameters} parameters, ours {TWINS[name].parameters}")
    return model


def copy_weights(model: Any, twin: nn.Module) -> None:
    """Copy the weights of one of our networks into its twin.

    Args:
        model: `keras.Model`, from one of our builders.
        twin: network of `build`, which is changed.
    """
    with torch.no_grad():
        for path, module in twin.named_modules():
            if not isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)):
                continue
            layer = model.get_layer(path.rpartition(".")[2])
            values = [torch.tensor(weight) for weight in layer.get_weights()]
            if isinstance(module, nn.BatchNorm2d):
                if module.weight.requires_grad:
                    module.weight.copy_(values.pop(0))
                for target, value in zip((module.bias, module.running_mean, module.running_var), values, strict=True):
                    target.copy_(value)
                continue
            kernel, *bias = values
            if isinstance(module, nn.Conv2d):
                kernel = kernel.permute(3, 2, 0, 1)
            else:
                kernel = _dense_kernel(model, layer, kernel)
            module.weight.copy_(kernel)
            for value in bias:
                module.bias.copy_(value)


def _dense_kernel(model: Any, layer: Any, kernel: torch.Tensor) -> torch.Tensor:
    """Return the kernel of a dense layer in PyTorch's order; after a flattening, channels come first."""
    for flatten in model.layers:
        if type(flatten).__name__ == "Flatten" and flatten.output is layer.input:
            height, width, channels = flatten.input.shape[1:]
            kernel = kernel.reshape(height, width, channels, -1).permute(2, 0, 1, 3).reshape(kernel.shape)
    return kernel.T


def step(name: str, batch: int, low_precision: bool, compiled: bool = False) -> Callable[[], float]:
    """Return a function that trains for one step on a fixed batch.

    Images are channels last; the optimizer is SGD with momentum, in one fused operation per weight.

    Args:
        name: one of `TWINS`.
        batch: number of images.
        low_precision: whether to compute in bfloat16.
        compiled: whether `torch.compile` compiles the network and its loss.
    """
    side, classes = TWINS[name].side, TWINS[name].classes
    model = build(name).to(memory_format=torch.channels_last)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, 1e-3, momentum=0.9, fused=True)
    random = np.random.default_rng(0)
    x = torch.tensor(random.normal(size=(batch, 3, side, side)).astype("float32"))
    x, y = x.contiguous(memory_format=torch.channels_last), torch.tensor(random.integers(0, classes, batch))

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(model(x), y)

    loss_function = torch.compile(loss_of) if compiled else loss_of

    def train() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
            loss = loss_function(x, y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return train
