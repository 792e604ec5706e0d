"""ResNet-50 in plain PyTorch, to compare ours with.

It follows He et al. 2016, table 1, with the strides in the first 1x1 convolutions. PyTorch is used if it is installed,
and is not a dependency.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride of the first


def conv_bn(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution without bias and its batch normalization."""
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1, and their shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv_bn(inputs, width, 1, stride), conv_bn(width, width, 3)
        self.third = conv_bn(width, 4 * width, 1)
        same_shape = inputs == 4 * width and stride == 1
        self.shortcut = nn.Identity() if same_shape else conv_bn(inputs, 4 * width, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        y = torch.relu(self.second(torch.relu(self.first(x))))
        return torch.relu(self.third(y) + self.shortcut(x))


def resnet50() -> nn.Sequential:
    """Return the network, which has 25,557,032 parameters."""
    blocks, channels = [], 64
    for width, count, stride in STAGES:
        for k in range(count):
            blocks.append(Bottleneck(channels, width, stride if k == 0 else 1))
            channels = 4 * width
    stem = [conv_bn(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def step(batch: int, low_precision: bool) -> Callable[[], float]:
    """Return a function that trains for one step on a fixed batch.

    The images have 224 pixels, channels last; the optimizer is SGD with momentum.

    Args:
        batch: number of images.
        low_precision: whether to compute in bfloat16.
    """
    model = resnet50().to(memory_format=torch.channels_last)
    assert sum(parameter.numel() for parameter in model.parameters()) == 25_557_032
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    random = np.random.default_rng(0)
    x = torch.tensor(random.normal(size=(batch, 3, 224, 224)).astype("float32"))
    x, y = x.contiguous(memory_format=torch.channels_last), torch.tensor(random.integers(0, 1000, batch))

    def train() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return train
