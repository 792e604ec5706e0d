"""What the papers say of their networks: one frozen record a public name. Standard library only."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Facts:
    """A network as published.

    Attributes:
        paper: authors, title, place and year.
        year: of publication.
        input_shape: (height, width, channels) by default.
        minimum: the smallest height and width that the network can take, in pixels.
        classes: by default.
        parameters: trainable, with the default arguments.
        macs: multiply-adds of convolutions and dense layers for one picture, with the default arguments.
        errors: published test errors in percent, by data set and condition.
    """

    paper: str
    year: int
    input_shape: tuple[int, int, int]
    minimum: int
    classes: int
    parameters: int
    macs: int
    errors: Mapping[str, float]


FACTS = {
    "NiN": Facts(
        paper="M. Lin, Q. Chen, S. Yan: Network In Network, ICLR 2014, arXiv 1312.4400",
        year=2014,
        input_shape=(32, 32, 3),
        minimum=6,
        classes=10,
        parameters=966_986,
        macs=222_486_528,
        errors={
            "CIFAR-10": 10.41,
            "CIFAR-10, augmented": 8.81,
            "CIFAR-100": 35.68,
            "SVHN": 2.35,
            "MNIST": 0.47,
        },
    ),
    "NiNImageNet": Facts(
        paper="M. Lin: NIN-Imagenet, Caffe model zoo, 2014 (not in the paper)",
        year=2014,
        input_shape=(224, 224, 3),
        minimum=55,
        classes=1000,
        parameters=7_595_176,
        macs=1_100_188_800,
        errors={"ILSVRC-2012 validation, top-1": 40.64},
    ),
}
