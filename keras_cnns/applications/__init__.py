"""The networks, one file a paper. This list is the only registry; a builder's file is imported when first used."""

from keras_cnns._lazy import lazy

# Public name of each builder: the file that holds it.
_BUILDERS = {
    "LeNet5": "lenet",
    "LeNet5Modern": "lenet",
    "NiN": "nin",
    "NiNImageNet": "nin",
    "Maxout": "maxout",
    "AlexNet": "alexnet",
    "CaffeNet": "alexnet",
    "AlexNetOneTower": "alexnet",
    "ZFNet": "zfnet",
    "VGG11": "vgg",
    "VGG11LRN": "vgg",
    "VGG13": "vgg",
    "VGG16C": "vgg",
    "VGG16": "vgg",
    "VGG19": "vgg",
    "GoogLeNet": "googlenet",
    "InceptionV2": "inception",
    "InceptionV3": "inception",
    "ResNet18": "resnet",
    "ResNet34": "resnet",
    "ResNet50": "resnet",
    "ResNet101": "resnet",
    "ResNet152": "resnet",
    "ResNet18V2": "resnet",
    "ResNet34V2": "resnet",
    "ResNet50V2": "resnet",
    "ResNet101V2": "resnet",
    "ResNet152V2": "resnet",
    "ResNet20": "resnet",
    "ResNet32": "resnet",
    "ResNet44": "resnet",
    "ResNet56": "resnet",
    "ResNet110": "resnet",
}

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        **_BUILDERS,
        "create_model": "_registry",
        "decode_predictions": "_registry",
        "list_models": "_registry",
        "list_weights": "_weights",
        "weights_info": "_weights",
    },
)
