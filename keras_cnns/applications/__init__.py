"""Classic networks, one file per paper.

Every builder is a function that returns a functional `keras.Model`. It takes the eight arguments of keras.applications
in their order, and after them keyword arguments of its own:

- `include_top`: False ends the network with the feature maps before the classifier. Then, and in networks without a
  dense layer over a whole map, height and width in `input_shape` may be None.
- `weights`: None for random weights; a name from `list_weights`, such as "imagenet"; or the path of a file with weights
  of the same network. A file is `.keras`, `.weights.h5` (of `Model.save_weights`) or `.safetensors` (its tensors named
  as Keras names weights, such as `conv1/kernel`).
- `input_tensor`, `input_shape`, `pooling`, `classes`, `classifier_activation`, `name`: as in keras.applications. With
  another number of classes than the weights', only the classifier is randomly initialized, and a warning says so.
- `dropout`, `kernel_initializer`, `bias_initializer` and the network's options. Arguments left at None come from the
  record of the weights if there is one, else from the paper. An argument that contradicts the weights is an error.

Examples:
    >>> from keras_cnns import applications
    >>> model = applications.NiN(weights="digits")
    >>> model.output_shape
    (None, 10)
"""

from typing import TYPE_CHECKING

from keras_cnns._lazy import lazy

if TYPE_CHECKING:  # For editors; at run time `__getattr__` imports a name when it is first used.
    from keras_cnns.applications._registry import create_model as create_model
    from keras_cnns.applications._registry import decode_predictions as decode_predictions
    from keras_cnns.applications._registry import list_models as list_models
    from keras_cnns.applications._weights import list_weights as list_weights
    from keras_cnns.applications._weights import weights_info as weights_info
    from keras_cnns.applications.alexnet import AlexNet as AlexNet
    from keras_cnns.applications.alexnet import AlexNetOneTower as AlexNetOneTower
    from keras_cnns.applications.alexnet import CaffeNet as CaffeNet
    from keras_cnns.applications.crf_rnn import CRFasRNN as CRFasRNN
    from keras_cnns.applications.deeplab import DeepLabASPP as DeepLabASPP
    from keras_cnns.applications.deeplab import DeepLabLargeFOV as DeepLabLargeFOV
    from keras_cnns.applications.fcn import FCN8s as FCN8s
    from keras_cnns.applications.fcn import FCN16s as FCN16s
    from keras_cnns.applications.fcn import FCN32s as FCN32s
    from keras_cnns.applications.googlenet import GoogLeNet as GoogLeNet
    from keras_cnns.applications.inception_v2 import InceptionV2 as InceptionV2
    from keras_cnns.applications.inception_v3 import InceptionV3 as InceptionV3
    from keras_cnns.applications.lenet import LeNet5 as LeNet5
    from keras_cnns.applications.lenet import LeNet5Modern as LeNet5Modern
    from keras_cnns.applications.maxout import Maxout as Maxout
    from keras_cnns.applications.nin import NiN as NiN
    from keras_cnns.applications.nin import NiNImageNet as NiNImageNet
    from keras_cnns.applications.resnet import ResNet18 as ResNet18
    from keras_cnns.applications.resnet import ResNet34 as ResNet34
    from keras_cnns.applications.resnet import ResNet50 as ResNet50
    from keras_cnns.applications.resnet import ResNet101 as ResNet101
    from keras_cnns.applications.resnet import ResNet152 as ResNet152
    from keras_cnns.applications.resnet_cifar import ResNet20 as ResNet20
    from keras_cnns.applications.resnet_cifar import ResNet32 as ResNet32
    from keras_cnns.applications.resnet_cifar import ResNet44 as ResNet44
    from keras_cnns.applications.resnet_cifar import ResNet56 as ResNet56
    from keras_cnns.applications.resnet_cifar import ResNet110 as ResNet110
    from keras_cnns.applications.resnet_v2 import ResNet18V2 as ResNet18V2
    from keras_cnns.applications.resnet_v2 import ResNet34V2 as ResNet34V2
    from keras_cnns.applications.resnet_v2 import ResNet50V2 as ResNet50V2
    from keras_cnns.applications.resnet_v2 import ResNet101V2 as ResNet101V2
    from keras_cnns.applications.resnet_v2 import ResNet152V2 as ResNet152V2
    from keras_cnns.applications.ssd import SSD as SSD
    from keras_cnns.applications.ssd import SSD300 as SSD300
    from keras_cnns.applications.ssd import SSD512 as SSD512
    from keras_cnns.applications.vgg import VGG11 as VGG11
    from keras_cnns.applications.vgg import VGG11LRN as VGG11LRN
    from keras_cnns.applications.vgg import VGG13 as VGG13
    from keras_cnns.applications.vgg import VGG16 as VGG16
    from keras_cnns.applications.vgg import VGG16C as VGG16C
    from keras_cnns.applications.vgg import VGG19 as VGG19
    from keras_cnns.applications.zfnet import ZFNet as ZFNet

# Public name of each builder: the file that holds it. Other places that name it: docs/contributing/add_a_network.md
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
    "InceptionV2": "inception_v2",
    "InceptionV3": "inception_v3",
    "ResNet18": "resnet",
    "ResNet34": "resnet",
    "ResNet50": "resnet",
    "ResNet101": "resnet",
    "ResNet152": "resnet",
    "ResNet18V2": "resnet_v2",
    "ResNet34V2": "resnet_v2",
    "ResNet50V2": "resnet_v2",
    "ResNet101V2": "resnet_v2",
    "ResNet152V2": "resnet_v2",
    "ResNet20": "resnet_cifar",
    "ResNet32": "resnet_cifar",
    "ResNet44": "resnet_cifar",
    "ResNet56": "resnet_cifar",
    "ResNet110": "resnet_cifar",
    "FCN32s": "fcn",
    "FCN16s": "fcn",
    "FCN8s": "fcn",
    "DeepLabLargeFOV": "deeplab",
    "DeepLabASPP": "deeplab",
    "CRFasRNN": "crf_rnn",
    "SSD300": "ssd",
    "SSD512": "ssd",
    "SSD": "ssd",
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
