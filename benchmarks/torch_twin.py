"""ResNet-50 in plain PyTorch, for a ratio beside ours: He et al. 2016, table 1, strides in the first 1x1.

PyTorch is used where it is installed, and is no dependency.
"""

import numpy as np
import torch
from torch import nn

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride of the first


def conv_bn(given, outputs, size, stride=1):
    """Return a convolution without bias and its batch normalization."""
    convolution = nn.Conv2d(given, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1, and what they are added to."""

    def __init__(self, given, width, stride):
        super().__init__()
        self.first, self.second = conv_bn(given, width, 1, stride), conv_bn(width, width, 3)
        self.third = conv_bn(width, 4 * width, 1)
        same = given == 4 * width and stride == 1
        self.shortcut = nn.Identity() if same else conv_bn(given, 4 * width, 1, stride)

    def forward(self, x):
        """Return the block's output."""
        y = torch.relu(self.second(torch.relu(self.first(x))))
        return torch.relu(self.third(y) + self.shortcut(x))


def resnet50():
    """Return the network, 25,557,032 parameters."""
    blocks, given = [], 64
    for width, count, stride in STAGES:
        for k in range(count):
            blocks.append(Bottleneck(given, width, stride if k == 0 else 1))
            given = 4 * width
    stem = [conv_bn(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(given, 1000))


def step(batch, low_precision):
    """Return a function that trains on one fixed batch of 224 pixels, channels last, by SGD with momentum."""
    model = resnet50().to(memory_format=torch.channels_last)
    assert sum(one.numel() for one in model.parameters()) == 25_557_032
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    random = np.random.default_rng(0)
    x = torch.tensor(random.normal(size=(batch, 3, 224, 224)).astype("float32"))
    x, y = x.contiguous(memory_format=torch.channels_last), torch.tensor(random.integers(0, 1000, batch))

    def train():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return train
