"""Published facts of each network.

There is one frozen record per public name. This module imports the standard library only.
"""

import dataclasses
import re
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Facts:
    """A network as published.

    Attributes:
        paper: "AUTHORS: TITLE, PLACE YEAR"; what stands before the colon becomes the citation.
        year: year of publication.
        input_shape: (height, width, channels) by default.
        minimum: the smallest height and width that the builder takes, in pixels. One pixel less would leave no map
            after the last pool.
        classes: number of classes by default.
        parameters: number of trainable parameters with the default arguments.
        macs: multiply-adds of convolutions and dense layers for one image, with the default arguments.
        errors: published test errors in percent, by dataset and condition.
        task: what the network is for, "classification", "segmentation" or "detection".
        results: published mean IoU in percent of networks for segmentation, or mean average precision of those for
            detection, by dataset and condition.
    """

    paper: str
    year: int
    input_shape: tuple[int, int, int]
    minimum: int
    classes: int
    parameters: int
    macs: int
    errors: Mapping[str, float]
    task: str = "classification"
    results: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def citation(self) -> str:
        """Citation of the paper, such as "He et al. 2016, arXiv 1512.03385"."""
        authors, _, rest = self.paper.partition(": ")
        names = [name.split()[-1] for name in authors.removesuffix(" et al.").split(", ")]
        short = f"{names[0]} et al." if len(names) > 3 or authors.endswith("et al.") else ", ".join(names)
        arxiv = re.search(r"arXiv \d+\.\d+", rest)
        return f"{short} {self.year}, {arxiv[0] if arxiv else rest.split(', ')[0]}"

    @property
    def published_error(self) -> str:
        """The first published error, mean IoU or mAP, or "-".

        A top-5 error stands next to its top-1 error.
        """
        if not self.errors:
            measure = "mAP" if self.task == "detection" else "mean IoU"
            return next((f"{key}, {measure} {value} %" for key, value in self.results.items()), "-")
        (key, value), *others = self.errors.items()
        text = f"{key} {value} %"
        if others and others[0][0] == key.replace("top-1", "top-5") != key:
            text += f", top-5 {others[0][1]} %"
        return text


LENET = (
    "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: "
    "Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 86(11), 1998"
)
NIN = "M. Lin, Q. Chen, S. Yan: Network In Network, ICLR 2014, arXiv 1312.4400"
MAXOUT = (
    "I. Goodfellow, D. Warde-Farley, M. Mirza, A. Courville, Y. Bengio: Maxout Networks, ICML 2013, arXiv 1302.4389"
)
ALEXNET = (
    "A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012"
)
ZFNET = "M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014, arXiv 1311.2901"
VGG = (
    "K. Simonyan, A. Zisserman: "
    "Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, arXiv 1409.1556"
)
GOOGLENET = (
    "C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed et al.: "
    "Going Deeper with Convolutions, CVPR 2015, arXiv 1409.4842"
)
BATCH_NORM = (
    "S. Ioffe, C. Szegedy: "
    "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift, ICML 2015, "
    "arXiv 1502.03167"
)
INCEPTION = (
    "C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna: "
    "Rethinking the Inception Architecture for Computer Vision, CVPR 2016, arXiv 1512.00567"
)
RESNET = "K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385"
RESNET_V2 = "K. He, X. Zhang, S. Ren, J. Sun: Identity Mappings in Deep Residual Networks, ECCV 2016, arXiv 1603.05027"
FCN = (
    "J. Long, E. Shelhamer, T. Darrell: "
    "Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, arXiv 1411.4038"
)
DEEPLAB = (
    "L.-C. Chen, G. Papandreou, I. Kokkinos, K. Murphy, A. Yuille: "
    "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs, ICLR 2015, arXiv 1412.7062"
)
DEEPLAB_V2 = (
    "L.-C. Chen, G. Papandreou, I. Kokkinos, K. Murphy, A. Yuille: "
    "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully Connected CRFs, "
    "2016, arXiv 1606.00915"
)
SSD_PAPER = (
    "W. Liu, D. Anguelov, D. Erhan, C. Szegedy, S. Reed et al.: "
    "SSD: Single Shot MultiBox Detector, ECCV 2016, arXiv 1512.02325"
)
CRF_RNN = (
    "S. Zheng, S. Jayasumana, B. Romera-Paredes, V. Vineet, Z. Su et al.: "
    "Conditional Random Fields as Recurrent Neural Networks, ICCV 2015, arXiv 1502.03240"
)

FACTS = {
    "LeNet5": Facts(
        paper=LENET,
        year=1998,
        input_shape=(32, 32, 1),
        minimum=32,
        classes=10,
        parameters=60_000,
        macs=326_520,
        errors={
            "MNIST": 0.95,
            "MNIST, distorted": 0.8,
        },
    ),
    "LeNet5Modern": Facts(
        paper=LENET,
        year=1998,
        input_shape=(28, 28, 1),
        minimum=12,
        classes=10,
        parameters=61_706,
        macs=416_520,
        errors={},
    ),
    "NiN": Facts(
        paper=NIN,
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
        errors={
            "ILSVRC-2012 validation, top-1": 40.64,
        },
    ),
    "Maxout": Facts(
        paper=MAXOUT,
        year=2013,
        input_shape=(32, 32, 3),
        minimum=8,
        classes=10,
        parameters=16_247_830,
        macs=732_290_696,
        errors={
            "CIFAR-10": 11.68,
            "CIFAR-10, augmented": 9.38,
            "CIFAR-100": 38.57,
            "SVHN": 2.47,
            "MNIST": 0.45,
        },
    ),
    "AlexNet": Facts(
        paper=ALEXNET,
        year=2012,
        input_shape=(227, 227, 3),
        minimum=39,
        classes=1000,
        parameters=60_965_224,
        macs=724_406_816,
        errors={
            "ILSVRC-2012 validation, 10 crops, top-1": 40.7,
            "ILSVRC-2012 validation, 10 crops, top-5": 18.2,
            "ILSVRC-2010 test, 10 crops, top-1": 37.5,
            "ILSVRC-2010 test, 10 crops, top-5": 17.0,
        },
    ),
    "CaffeNet": Facts(
        paper="Y. Jia et al.: Caffe, models/bvlc_reference_caffenet, 2014, after Krizhevsky et al. 2012",
        year=2014,
        input_shape=(227, 227, 3),
        minimum=39,
        classes=1000,
        parameters=60_965_224,
        macs=724_406_816,
        errors={
            "ILSVRC-2012 validation, top-1": 42.6,
            "ILSVRC-2012 validation, top-5": 19.6,
        },
    ),
    "AlexNetOneTower": Facts(
        paper="A. Krizhevsky: One weird trick for parallelizing convolutional neural networks, 2014, arXiv 1404.5997",
        year=2014,
        input_shape=(224, 224, 3),
        minimum=63,
        classes=1000,
        parameters=61_100_840,
        macs=714_188_480,
        errors={},
    ),
    "ZFNet": Facts(
        paper=ZFNET,
        year=2014,
        input_shape=(224, 224, 3),
        minimum=47,
        classes=1000,
        parameters=62_357_608,
        macs=1_168_032_896,
        errors={
            "ILSVRC-2012 validation, 10 crops, top-1": 38.4,
            "ILSVRC-2012 validation, 10 crops, top-5": 16.5,
            "ILSVRC-2012 validation, 10 crops, wide, top-1": 37.5,
            "ILSVRC-2012 validation, 10 crops, wide, top-5": 16.0,
        },
    ),
    "VGG11": Facts(
        paper=VGG,
        year=2015,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=132_863_336,
        macs=7_609_090_048,
        errors={
            "ILSVRC-2012 validation, one scale, top-1": 29.6,
            "ILSVRC-2012 validation, one scale, top-5": 10.4,
        },
    ),
    "VGG11LRN": Facts(
        paper=VGG,
        year=2015,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=132_863_336,
        macs=7_609_090_048,
        errors={
            "ILSVRC-2012 validation, one scale, top-1": 29.7,
            "ILSVRC-2012 validation, one scale, top-5": 10.5,
        },
    ),
    "VGG13": Facts(
        paper=VGG,
        year=2015,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=133_047_848,
        macs=11_308_466_176,
        errors={
            "ILSVRC-2012 validation, one scale, top-1": 28.7,
            "ILSVRC-2012 validation, one scale, top-5": 9.9,
            "ILSVRC-2012 validation, multi-scale, top-1": 28.2,
            "ILSVRC-2012 validation, multi-scale, top-5": 9.6,
        },
    ),
    "VGG16C": Facts(
        paper=VGG,
        year=2015,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=133_638_952,
        macs=11_770_888_192,
        errors={
            "ILSVRC-2012 validation, one scale, top-1": 27.3,
            "ILSVRC-2012 validation, one scale, top-5": 8.8,
            "ILSVRC-2012 validation, multi-scale, top-1": 26.3,
            "ILSVRC-2012 validation, multi-scale, top-5": 8.2,
        },
    ),
    "VGG16": Facts(
        paper=VGG,
        year=2015,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=138_357_544,
        macs=15_470_264_320,
        errors={
            "ILSVRC-2012 validation, one scale, top-1": 25.6,
            "ILSVRC-2012 validation, one scale, top-5": 8.1,
            "ILSVRC-2012 validation, multi-scale, top-1": 24.8,
            "ILSVRC-2012 validation, multi-scale, top-5": 7.5,
        },
    ),
    "VGG19": Facts(
        paper=VGG,
        year=2015,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=143_667_240,
        macs=19_632_062_464,
        errors={
            "ILSVRC-2012 validation, one scale, top-1": 25.5,
            "ILSVRC-2012 validation, one scale, top-5": 8.0,
            "ILSVRC-2012 validation, multi-scale, top-1": 24.8,
            "ILSVRC-2012 validation, multi-scale, top-5": 7.5,
        },
    ),
    "GoogLeNet": Facts(
        paper=GOOGLENET,
        year=2015,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=6_998_552,
        macs=1_582_671_872,
        errors={
            "ILSVRC-2012 validation, top-5": 10.07,
            "ILSVRC-2012 validation, 10 crops, top-5": 9.15,
            "ILSVRC-2012 validation, 144 crops, top-5": 7.89,
        },
    ),
    "InceptionV2": Facts(
        paper=BATCH_NORM,
        year=2015,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=11_194_984,
        macs=2_018_851_840,
        errors={
            "ILSVRC-2012 validation, top-1": 25.2,
            "ILSVRC-2012 validation, top-5": 7.82,
            "ILSVRC-2012 validation, 144 crops, top-1": 21.99,
            "ILSVRC-2012 validation, 144 crops, top-5": 5.82,
        },
    ),
    "InceptionV3": Facts(
        paper=INCEPTION,
        year=2016,
        input_shape=(299, 299, 3),
        minimum=75,
        classes=1000,
        parameters=23_834_568,
        macs=5_713_216_096,
        errors={
            "ILSVRC-2012 validation, top-1": 21.2,
            "ILSVRC-2012 validation, top-5": 5.6,
            "ILSVRC-2012 validation, 144 crops, top-1": 18.77,
            "ILSVRC-2012 validation, 144 crops, top-5": 4.2,
        },
    ),
    "ResNet18": Facts(
        paper=RESNET,
        year=2016,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=11_689_512,
        macs=1_814_073_344,
        errors={
            "ILSVRC-2012 validation, 10 crops, top-1": 27.88,
        },
    ),
    "ResNet34": Facts(
        paper=RESNET,
        year=2016,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=21_797_672,
        macs=3_663_761_408,
        errors={
            "ILSVRC-2012 validation, 10 crops, top-1": 24.52,
            "ILSVRC-2012 validation, 10 crops, top-5": 7.46,
            "ILSVRC-2012 validation, multi-scale, top-1": 21.84,
            "ILSVRC-2012 validation, multi-scale, top-5": 5.71,
        },
    ),
    "ResNet50": Facts(
        paper=RESNET,
        year=2016,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=25_557_032,
        macs=3_857_973_248,
        errors={
            "ILSVRC-2012 validation, 10 crops, top-1": 22.85,
            "ILSVRC-2012 validation, 10 crops, top-5": 6.71,
            "ILSVRC-2012 validation, multi-scale, top-1": 20.74,
            "ILSVRC-2012 validation, multi-scale, top-5": 5.25,
        },
    ),
    "ResNet101": Facts(
        paper=RESNET,
        year=2016,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=44_549_160,
        macs=7_570_194_432,
        errors={
            "ILSVRC-2012 validation, 10 crops, top-1": 21.75,
            "ILSVRC-2012 validation, 10 crops, top-5": 6.05,
            "ILSVRC-2012 validation, multi-scale, top-1": 19.87,
            "ILSVRC-2012 validation, multi-scale, top-5": 4.6,
        },
    ),
    "ResNet152": Facts(
        paper=RESNET,
        year=2016,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=60_192_808,
        macs=11_282_415_616,
        errors={
            "ILSVRC-2012 validation, 10 crops, top-1": 21.43,
            "ILSVRC-2012 validation, 10 crops, top-5": 5.71,
            "ILSVRC-2012 validation, multi-scale, top-1": 19.38,
            "ILSVRC-2012 validation, multi-scale, top-5": 4.49,
        },
    ),
    "ResNet18V2": Facts(
        paper=RESNET_V2,
        year=2016,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=11_687_720,
        macs=1_814_073_344,
        errors={},
    ),
    "ResNet34V2": Facts(
        paper=RESNET_V2,
        year=2016,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=21_795_880,
        macs=3_663_761_408,
        errors={},
    ),
    "ResNet50V2": Facts(
        paper=RESNET_V2,
        year=2016,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=25_549_352,
        macs=4_089_184_256,
        errors={},
    ),
    "ResNet101V2": Facts(
        paper=RESNET_V2,
        year=2016,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=44_541_480,
        macs=7_801_405_440,
        errors={},
    ),
    "ResNet152V2": Facts(
        paper=RESNET_V2,
        year=2016,
        input_shape=(224, 224, 3),
        minimum=32,
        classes=1000,
        parameters=60_185_128,
        macs=11_513_626_624,
        errors={
            "ILSVRC-2012 validation, 320 pixels, top-1": 21.1,
            "ILSVRC-2012 validation, 320 pixels, top-5": 5.5,
        },
    ),
    "ResNet20": Facts(
        paper=RESNET,
        year=2016,
        input_shape=(32, 32, 3),
        minimum=8,
        classes=10,
        parameters=269_722,
        macs=40_551_040,
        errors={
            "CIFAR-10, augmented": 8.75,
        },
    ),
    "ResNet32": Facts(
        paper=RESNET,
        year=2016,
        input_shape=(32, 32, 3),
        minimum=8,
        classes=10,
        parameters=464_154,
        macs=68_862_592,
        errors={
            "CIFAR-10, augmented": 7.51,
        },
    ),
    "ResNet44": Facts(
        paper=RESNET,
        year=2016,
        input_shape=(32, 32, 3),
        minimum=8,
        classes=10,
        parameters=658_586,
        macs=97_174_144,
        errors={
            "CIFAR-10, augmented": 7.17,
        },
    ),
    "ResNet56": Facts(
        paper=RESNET,
        year=2016,
        input_shape=(32, 32, 3),
        minimum=8,
        classes=10,
        parameters=853_018,
        macs=125_485_696,
        errors={
            "CIFAR-10, augmented": 6.97,
        },
    ),
    "ResNet110": Facts(
        paper=RESNET,
        year=2016,
        input_shape=(32, 32, 3),
        minimum=8,
        classes=10,
        parameters=1_727_962,
        macs=252_887_680,
        errors={
            "CIFAR-10, augmented": 6.43,
        },
    ),
    "FCN32s": Facts(
        paper=FCN,
        year=2015,
        input_shape=(500, 500, 3),
        minimum=1,
        classes=21,
        parameters=134_346_581,
        macs=111_264_399_360,
        errors={},
        task="segmentation",
        results={
            "VOC 2011 validation": 63.6,
        },
    ),
    "FCN16s": Facts(
        paper=FCN,
        year=2015,
        input_shape=(500, 500, 3),
        minimum=1,
        classes=21,
        parameters=134_357_354,
        macs=111_277_215_744,
        errors={},
        task="segmentation",
        results={
            "VOC 2011 validation": 65.0,
        },
    ),
    "FCN8s": Facts(
        paper=FCN,
        year=2015,
        input_shape=(500, 500, 3),
        minimum=1,
        classes=21,
        parameters=134_362_751,
        macs=111_306_461_184,
        errors={},
        task="segmentation",
        results={
            "VOC 2012 test": 67.2,
            "VOC 2011 validation": 65.5,
        },
    ),
    "DeepLabLargeFOV": Facts(
        paper=DEEPLAB,
        year=2015,
        input_shape=(321, 321, 3),
        minimum=1,
        classes=21,
        parameters=20_505_429,
        macs=50_928_085_696,
        errors={},
        task="segmentation",
        results={
            "VOC 2012 test, MSc and CRF": 71.6,
        },
    ),
    "DeepLabASPP": Facts(
        paper=DEEPLAB_V2,
        year=2016,
        input_shape=(321, 321, 3),
        minimum=1,
        classes=21,
        parameters=44_048_532,
        macs=75_135_808_704,
        errors={},
        task="segmentation",
        results={
            "VOC 2012 test, multi-scale and CRF": 79.7,
            "VOC 2012 validation, multi-scale": 76.35,
            "VOC 2012 validation, multi-scale and CRF": 77.69,
        },
    ),
    "CRFasRNN": Facts(
        paper=CRF_RNN,
        year=2015,
        input_shape=(500, 500, 3),
        minimum=1,
        classes=21,
        parameters=134_378_207,
        macs=113_150_214_144,
        errors={},
        task="segmentation",
        results={
            "VOC 2012 test, with COCO": 74.7,
            "VOC 2012 test": 72.0,
        },
    ),
    "SSD300": Facts(
        paper=SSD_PAPER,
        year=2016,
        input_shape=(300, 300, 3),
        minimum=300,
        classes=20,
        parameters=26_285_486,
        macs=31_373_537_792,
        errors={},
        task="detection",
        results={
            "VOC 2007 test, 07+12": 77.2,
        },
    ),
    "SSD512": Facts(
        paper=SSD_PAPER,
        year=2016,
        input_shape=(512, 512, 3),
        minimum=512,
        classes=20,
        parameters=27_188_676,
        macs=90_207_908_864,
        errors={},
        task="detection",
        results={
            "VOC 2007 test, 07+12": 79.8,
        },
    ),
    "SSD": Facts(
        paper=SSD_PAPER,
        year=2016,
        input_shape=(96, 96, 3),
        minimum=32,
        classes=20,
        parameters=1_285_338,
        macs=449_388_288,
        errors={},
        task="detection",
    ),
}
