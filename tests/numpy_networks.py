"""Reference networks in NumPy and float64, for one image.

They are written from the papers and the tables of layers, not from the package. An image is (height, width, channels).
`FORWARDS[name](weights, x)` returns the logits; `weights` maps a layer's name to its arrays in Keras's order, kernels
in Keras's layout. Strides, padding and connections come from the tables, widths and kernel sizes from the weights, so
that smaller images and narrower networks work too.
"""

from functools import partial

import numpy as np

# Primitives


def conv(x, kernel, bias=None, stride=1, pad=0, groups=1):
    """Correlate with zero padding on both sides.

    The output size is rounded down. `pad` may be one number or (vertical, horizontal).
    """
    x, kernel = np.asarray(x, "float64"), np.asarray(kernel, "float64")
    if groups > 1:  # each part of the input channels determines one part of the output channels
        parts = zip(np.split(x, groups, -1), np.split(kernel, groups, -1), strict=True)
        x = np.concatenate([conv(maps, part, None, stride, pad) for maps, part in parts], -1)
        return x if bias is None else x + bias
    vertical, horizontal = (pad, pad) if isinstance(pad, int) else pad
    x = np.pad(x, [(vertical, vertical), (horizontal, horizontal), (0, 0)])
    (rows, columns), (tall, wide) = x.shape[:2], kernel.shape[:2]
    height, width = (rows - tall) // stride + 1, (columns - wide) // stride + 1
    assert height > 0 and width > 0, "the image is too small"
    out = np.zeros((height, width, kernel.shape[-1]))
    for i in range(tall):
        for j in range(wide):
            seen = x[i : i + (height - 1) * stride + 1 : stride, j : j + (width - 1) * stride + 1 : stride]
            out += np.tensordot(seen, kernel[i, j], 1)
    return out if bias is None else out + bias


def relu(x):
    return np.maximum(x, 0)


def windows(side, size, stride, pad, ceil):
    """Return the windows of a pool along one side.

    They are cut to the real pixels. With `ceil`, a last window that reaches beyond the edge is kept.
    """
    span = side + 2 * pad - size
    count = 1 + (-(-span // stride) if ceil else span // stride)
    if ceil and (count - 1) * stride >= side + pad:  # Caffe drops a window that would start beyond the padded image
        count -= 1
    assert count > 0, "the image is too small"
    return [slice(max(0, i * stride - pad), min(side, i * stride - pad + size)) for i in range(count)]


def pool(x, reduce, size, stride, pad, ceil):
    rows, columns = (windows(side, size, stride, pad, ceil) for side in x.shape[:2])
    return np.array([[reduce(x[row, column], axis=(0, 1)) for column in columns] for row in rows])


def max_pool(x, size, stride, pad=0, ceil=False):
    return pool(x, np.max, size, stride, pad, ceil)


def average_pool(x, size, stride, pad=0, ceil=False):
    """Divide by the number of real pixels."""
    return pool(x, np.mean, size, stride, pad, ceil)


def global_average(x):
    return x.mean((0, 1))


def lrn(x, n, k, alpha, beta, divide):
    """Divide each value by a power of the energy of its neighbors.

    The divisor is (k + alpha * the sum of squares of the `n` channels around it)^beta. With `divide`, alpha is
    divided by n.
    """
    out = np.empty_like(x)
    for channel in range(x.shape[-1]):
        around = x[..., max(0, channel - n // 2) : channel + n // 2 + 1]
        out[..., channel] = x[..., channel] / (k + (alpha / n if divide else alpha) * (around**2).sum(-1)) ** beta
    return out


def batch_norm(x, weights, eps):
    gamma, beta, mean, variance = (np.asarray(w, "float64") for w in weights)
    return gamma * (x - mean) / np.sqrt(variance + eps) + beta


def dense(x, kernel, bias):
    return x.ravel() @ np.asarray(kernel, "float64") + bias


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def scaled_tanh(x):
    return 1.7159 * np.tanh(2 / 3 * x)


def maxout(x, pieces):
    """Return the largest of each `pieces` adjacent channels."""
    return x.reshape(*x.shape[:-1], -1, pieces).max(-1)


# Layers by name


def conv_relu(weights, x, name, stride=1, pad=0, groups=1):
    kernel, bias = weights[name]
    return relu(conv(x, kernel, bias, stride, pad, groups))


def conv_bn(weights, x, name, eps, stride=1, pad=0):
    (kernel,) = weights[name]  # beta takes the place of a bias
    return batch_norm(conv(x, kernel, None, stride, pad), weights[f"{name}_bn"], eps)


# LeNet-5 (1998)

C3_INPUTS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


def lenet5(weights, x):
    def subsample(x, coefficient, bias):  # without an odd last row or column
        return scaled_tanh(coefficient * pool(x, np.sum, 2, 2, 0, ceil=False) + bias)

    x = scaled_tanh(conv(x, *weights["C1"]))
    x = subsample(x, *weights["S2"])
    kernel, bias = weights["C3"]
    maps, first = [], 0
    for inputs in C3_INPUTS:  # the kernel lists the connections map by map
        part = kernel[:, :, first : first + len(inputs), None]
        maps.append(conv(x[..., list(inputs)], part))
        first += len(inputs)
    assert first == kernel.shape[2] == 60
    x = scaled_tanh(np.concatenate(maps, -1) + bias)
    x = subsample(x, *weights["S4"])
    x = scaled_tanh(conv(x, *weights["C5"]))
    x = scaled_tanh(dense(x, *weights["F6"]))
    (codes,) = weights["rbf"]
    return -((codes - x) ** 2).sum(-1)


def lenet5_modern(weights, x, activation="relu", subsampling="max"):
    squash, reduce = (
        {"relu": relu, "tanh": np.tanh}[activation],
        {"max": max_pool, "average": average_pool}[subsampling],
    )
    x = reduce(squash(conv(x, *weights["C1"], pad=2)), 2, 2)
    x = reduce(squash(conv(x, *weights["C3"])), 2, 2)
    for name in ("C5", "F6"):
        x = squash(dense(x, *weights[name]))
    return dense(x, *weights["output"])


# Maxout (2013), the network for CIFAR-10. Keras's dropout scales while training, so no weight is halved here.

MAXOUT_LAYERS = (("h0_conv", 4, 4), ("h1_conv", 3, 4), ("h2_conv", 3, 2))  # name, pad, size of the pool with stride 2


def maxout_cifar10(weights, x):
    for name, pad, size in MAXOUT_LAYERS:
        kernel, bias = weights[name]
        x = max_pool(maxout(conv(x, kernel, bias, pad=pad), 2), size, 2, ceil=True)
    return dense(maxout(dense(x, *weights["h3_dense"]), 5), *weights["y"])


# NiN (2014)


def nin(weights, x, variant="cifar10", second_pool=None):
    second_pool = second_pool or ("average" if variant == "cifar10" else "max")

    def block(x, *names):
        for name in names:
            x = conv_relu(weights, x, name, pad=len(weights[name][0]) // 2)
        return x

    x = max_pool(block(x, "conv1", "cccp1", "cccp2"), 3, 2, ceil=True)
    x = block(x, "conv2", "cccp3", "cccp4")
    x = {"average": average_pool, "max": max_pool}[second_pool](x, 3, 2, ceil=True)
    return global_average(block(x, "conv3", "cccp5", "cccp6"))  # ReLU after the last layer, too


def nin_imagenet(weights, x):
    for k, (stride, pad) in enumerate(((4, 0), (1, 2), (1, 1), (1, 1)), 1):
        x = conv_relu(weights, x, f"conv{k}", stride, pad)
        for name in (f"cccp{2 * k - 1}", f"cccp{2 * k}"):
            x = conv_relu(weights, x, name)
        x = max_pool(x, 3, 2, ceil=True) if k < 4 else x
    return global_average(x)


# AlexNet (2012 and 2014), CaffeNet, ZFNet (2014), VGG (2015)


printed_lrn = partial(lrn, n=5, k=2, alpha=1e-4, beta=0.75, divide=False)  # as AlexNet's paper prints it
caffe_lrn = partial(lrn, n=5, k=1, alpha=1e-4, beta=0.75, divide=True)
pool_3_2 = partial(max_pool, size=3, stride=2, ceil=True)


def three_dense(weights, x):
    x = relu(dense(x, *weights["fc6"]))
    x = relu(dense(x, *weights["fc7"]))
    return dense(x, *weights["fc8"])


def two_towers(weights, x, between):
    """Compute AlexNet, with `between` applied after each of the first two convolutions."""
    x = between(conv_relu(weights, x, "conv1", stride=4))
    x = between(conv_relu(weights, x, "conv2", pad=2, groups=2))
    x = conv_relu(weights, x, "conv3", pad=1)
    x = conv_relu(weights, x, "conv4", pad=1, groups=2)
    x = conv_relu(weights, x, "conv5", pad=1, groups=2)
    return three_dense(weights, pool_3_2(x))


alexnet = partial(two_towers, between=lambda x: pool_3_2(printed_lrn(x)))
caffenet = partial(two_towers, between=lambda x: caffe_lrn(pool_3_2(x)))


def zfnet(weights, x):
    x = printed_lrn(pool_3_2(conv_relu(weights, x, "conv1", stride=2, pad=1)))
    x = printed_lrn(pool_3_2(conv_relu(weights, x, "conv2", stride=2)))
    for name in ("conv3", "conv4", "conv5"):
        x = conv_relu(weights, x, name, pad=1)
    return three_dense(weights, pool_3_2(x))


def one_tower(weights, x):
    x = max_pool(conv_relu(weights, x, "conv1", stride=4, pad=2), 3, 2)
    x = max_pool(conv_relu(weights, x, "conv2", pad=2), 3, 2)
    for name in ("conv3", "conv4", "conv5"):
        x = conv_relu(weights, x, name, pad=1)
    return three_dense(weights, max_pool(x, 3, 2))


def vgg(weights, x, blocks, norm1=None, third=3):
    """Compute VGG.

    `blocks` has the number of convolutions in each block, `norm1` is the normalization after those of the first
    block, and `third` is the side of the kernel of a third convolution.
    """
    for block, count in enumerate(blocks, 1):
        for k in range(1, count + 1):
            side = third if k == 3 else 3
            assert weights[f"conv{block}_{k}"][0].shape[0] == side
            x = conv_relu(weights, x, f"conv{block}_{k}", pad=side // 2)
        if norm1 and block == 1:
            x = norm1(x)
        x = max_pool(x, 2, 2)
    return three_dense(weights, x)


# GoogLeNet (2014), BN-Inception (2015) and the auxiliary head of Inception v3 (2016)

GOOGLENET = ("3a", "3b", "pool3", "4a", "4b", "4c", "4d", "4e", "pool4", "5a", "5b")
BN_INCEPTION = ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
REDUCTIONS = ("3c", "4e")  # BN-Inception's modules of stride 2


def googlenet(weights, x, auxiliary=False, batch_norm=False):
    def layer(x, name, stride=1, pad=0):
        if batch_norm:
            return relu(conv_bn(weights, x, name, 1e-3, stride, pad))
        return conv_relu(weights, x, name, stride, pad)

    def normalize(x):
        return x if batch_norm else caffe_lrn(x)

    heads = []
    x = normalize(pool_3_2(layer(x, "conv1_7x7_s2", stride=2, pad=3)))
    x = layer(x, "conv2_3x3_reduce")
    x = pool_3_2(normalize(layer(x, "conv2_3x3", pad=1)))
    for module in GOOGLENET:
        if module.startswith("pool"):
            x = pool_3_2(x)
            continue
        name = f"inception_{module}"
        single = layer(x, f"{name}_1x1")
        three = layer(layer(x, f"{name}_3x3_reduce"), f"{name}_3x3", pad=1)
        five = layer(layer(x, f"{name}_5x5_reduce"), f"{name}_5x5", pad=2)
        pooled = layer(max_pool(x, 3, 1, pad=1), f"{name}_pool_proj")
        x = np.concatenate([single, three, five, pooled], -1)
        if auxiliary and module in ("4a", "4d"):
            head = {"4a": "loss1", "4d": "loss2"}[module]
            y = layer(average_pool(x, 5, 3), f"{head}_conv")
            heads.append(dense(relu(dense(y, *weights[f"{head}_fc"])), *weights[f"{head}_classifier"]))
    logits = dense(global_average(x), *weights["loss3_classifier"])
    return [logits, *heads] if auxiliary else logits


def inception_v3_head(weights, x):
    x = relu(conv_bn(weights, average_pool(x, 5, 3), "aux_conv0", 1e-3))
    x = relu(conv_bn(weights, x, "aux_conv1", 1e-3))
    return dense(global_average(x), *weights["aux_fc"])


def inception_v2(weights, x):
    def layer(x, name, stride=1, pad=0):
        return relu(conv_bn(weights, x, name, 1e-3, stride, pad))

    x = pool_3_2(layer(x, "conv1_7x7_s2", stride=2, pad=3))
    x = pool_3_2(layer(layer(x, "conv2_3x3_reduce"), "conv2_3x3", pad=1))
    for module in BN_INCEPTION:
        name = f"inception_{module}"
        stride = 2 if module in REDUCTIONS else 1
        three = layer(layer(x, f"{name}_3x3_reduce"), f"{name}_3x3", stride, pad=1)
        double = layer(layer(x, f"{name}_double3x3_reduce"), f"{name}_double3x3_1", pad=1)
        double = layer(double, f"{name}_double3x3_2", stride, pad=1)
        if module in REDUCTIONS:  # no 1x1 branch, and no projection after the pool
            x = np.concatenate([three, double, pool_3_2(x)], -1)
        else:
            pooled = (max_pool if module == "5b" else average_pool)(x, 3, 1, pad=1)
            pooled = layer(pooled, f"{name}_pool_proj")
            x = np.concatenate([layer(x, f"{name}_1x1"), three, double, pooled], -1)
    return dense(global_average(x), *weights["classifier"])


# ResNets (2015, 2016)

BASIC, BOTTLENECK = (2, 2, 2, 2), (3, 4, 6, 3)  # units of ResNet18 and ResNet50
EPS = 1e-5


def units(counts):
    """Yield the name and stride of each unit.

    The first unit of every stage but conv2 halves height and width.
    """
    for stage, count in enumerate(counts, 2):
        for unit in range(1, count + 1):
            yield f"conv{stage}_{unit}", 2 if unit == 1 and stage > 2 else 1


def zeros(x, maps, stride):
    """Return every `stride`-th pixel, with zeros for additional maps (option A)."""
    x = x[::stride, ::stride]
    return np.concatenate([x, np.zeros((*x.shape[:2], maps - x.shape[-1]))], -1)


def strides_and_pads(weights, name, stride, stride_on):
    """Return (stride, pad) of each convolution of a unit."""
    if f"{name}_conv3" not in weights:
        return (stride, 1), (1, 1)
    first, second = (stride, 1) if stride_on == "1x1" else (1, stride)
    return (first, 0), (second, 1), (1, 0)


def resnet_v1(weights, x, counts, shortcut="B", residual=True, stride_on="1x1"):
    return dense(global_average(resnet_v1_maps(weights, x, counts, shortcut, residual, stride_on)), *weights["fc"])


def resnet_v1_maps(weights, x, counts, shortcut="B", residual=True, stride_on="1x1"):
    for name, stride in units(counts):
        steps = strides_and_pads(weights, name, stride, stride_on)
        y = x
        for k, (step, pad) in enumerate(steps, 1):
            y = conv_bn(weights, y, f"{name}_conv{k}", EPS, step, pad)
            y = relu(y) if k < len(steps) else y
        changes = stride > 1 or x.shape[-1] != y.shape[-1]
        if shortcut == "C" or (shortcut == "B" and changes and residual):
            x = conv_bn(weights, x, f"{name}_shortcut", EPS, stride)
        elif changes:
            x = zeros(x, y.shape[-1], stride)
        x = relu(x + y if residual else y)
    return x


def resnet_v2(weights, x, counts, shortcut="B", residual=True, stride_on="3x3"):
    def activated(x, name):
        return relu(batch_norm(x, weights[f"{name}_bn"], EPS))

    for name, stride in units(counts):
        # The first unit has no normalization and ReLU of its own before its first convolution: the stem ends with them.
        active = y = x if name == "conv2_1" else activated(x, f"{name}_conv1")
        for k, (step, pad) in enumerate(strides_and_pads(weights, name, stride, stride_on), 1):
            y = y if k == 1 else activated(y, f"{name}_conv{k}")
            y = conv(y, *weights[f"{name}_conv{k}"], None, step, pad)
        changes = stride > 1 or x.shape[-1] != y.shape[-1]
        if shortcut == "C" or (shortcut == "B" and changes and residual):
            x = conv(active, *weights[f"{name}_shortcut"], None, stride)
        elif changes:
            x = zeros(active, y.shape[-1], stride)
        x = x + y if residual else y
    return dense(global_average(activated(x, "post")), *weights["fc"])


def with_stem(network, counts):
    def forward(weights, x, **options):
        x = relu(conv_bn(weights, x, "conv1", EPS, stride=2, pad=3))
        return network(weights, max_pool(x, 3, 2, pad=1), counts, **options)

    return forward


def resnet20(weights, x, shortcut="A", residual=True):
    x = relu(conv_bn(weights, x, "conv1", EPS, pad=1))
    return resnet_v1(weights, x, (3, 3, 3), shortcut, residual)


# FCN (2015)


def transposed_conv(x, kernel, stride):
    """Add the kernel (height, width, out, in), multiplied by each value, at every `stride`-th position."""
    (rows, columns), side = x.shape[:2], kernel.shape[0]
    out = np.zeros(((rows - 1) * stride + side, (columns - 1) * stride + side, kernel.shape[2]))
    for i in range(rows):
        for j in range(columns):
            out[i * stride : i * stride + side, j * stride : j * stride + side] += kernel @ x[i, j]
    return out


def crop(x, height, width, offset=None):
    """Cut to a size, in the middle or from an offset on."""
    top, left = ((x.shape[0] - height) // 2, (x.shape[1] - width) // 2) if offset is None else (offset, offset)
    return x[top : top + height, left : left + width]


def fcn(weights, x, maps, stride, finest, offsets=None, scales=None):
    """Compute the scores of each pixel.

    `maps` returns the maps at a quarter, a half and all of the stride, the last ones with their dense layers; `finest`
    is 32, 16 or 8. `offsets` are the authors', for score_pool4, score_pool3 and the result; without them, images are
    padded to a multiple of the stride.
    """
    height, width = x.shape[:2]

    def enlarge(x, name):
        (kernel,) = weights[name]
        factor = kernel.shape[0] // 2 if kernel.shape[0] % 2 == 0 else (kernel.shape[0] + 1) // 2
        rows, columns = (factor * side for side in x.shape[:2])
        x = transposed_conv(x, kernel, factor)
        return x if offsets else crop(x, rows, columns)

    def add(x, maps, name, k):
        finer = conv(maps * (scales[k] if scales else 1), *weights[name])
        return x + (crop(finer, *x.shape[:2], offsets[k]) if offsets else finer)

    if offsets is None:
        missing = [-side % stride for side in (height, width)]
        x = np.pad(x, [*((more // 2, more - more // 2) for more in missing), (0, 0)])
    quarter, half, last = maps(weights, x)
    x = conv(last, *weights["score_fr"])
    if finest == 32:
        x = enlarge(x, "upscore")
    else:
        x = add(enlarge(x, "upscore2"), half, "score_pool4", 0)
    if finest == 16:
        x = enlarge(x, "upscore16")
    if finest == 8:
        x = add(enlarge(x, "upscore_pool4"), quarter, "score_pool3", 1)
        x = enlarge(x, "upscore8") if "upscore8" in weights else x
    return crop(x, height, width, offsets and offsets[2])


def nin_maps(weights, x):
    def block(x, *names):
        for name in names:
            x = conv_relu(weights, x, name, pad=len(weights[name][0]) // 2)
        return x

    first = block(x, "conv1", "cccp1", "cccp2")
    second = block(max_pool(first, 3, 2, ceil=True), "conv2", "cccp3", "cccp4")
    return first, second, block(average_pool(second, 3, 2, ceil=True), "conv3", "cccp5")


def vgg16_maps(weights, x, caffe=False):
    pools = []
    for block, count in enumerate((2, 2, 3, 3, 3), 1):
        for k in range(1, count + 1):
            # Caffe pads conv1_1 by 100
            x = conv_relu(weights, x, f"conv{block}_{k}", pad=100 if caffe and (block, k) == (1, 1) else 1)
        x = max_pool(x, 2, 2, ceil=True)
        pools.append(x)
    x = conv_relu(weights, x, "fc6", pad=0 if caffe else 3)
    return pools[2], pools[3], conv_relu(weights, x, "fc7")


def caffenet_maps(weights, x):
    x = caffe_lrn(pool_3_2(conv_relu(weights, np.pad(x, [(100, 100), (100, 100), (0, 0)]), "conv1", stride=4)))
    x = caffe_lrn(pool_3_2(conv_relu(weights, x, "conv2", pad=2, groups=2)))
    x = conv_relu(weights, x, "conv3", pad=1)
    x = conv_relu(weights, x, "conv4", pad=1, groups=2)
    x = pool_3_2(conv_relu(weights, x, "conv5", pad=1, groups=2))
    return None, None, conv_relu(weights, conv_relu(weights, x, "fc6"), "fc7")


# DeepLab (2015, 2016)


def dilated_conv(x, kernel, bias, rate):
    """Correlate with a kernel whose values are `rate` apart; the size of the maps is kept."""
    side = (kernel.shape[0] - 1) * rate + 1
    wide = np.zeros((side, side, *kernel.shape[2:]))
    wide[::rate, ::rate] = kernel
    return conv(x, wide, bias, pad=side // 2)


def interp(x, factor):
    """Interpolate between positions along rows and columns, the corners staying where they are."""
    for axis in (0, 1):
        positions = np.arange((x.shape[axis] - 1) * factor + 1) / factor
        x = np.apply_along_axis(lambda line, at=positions: np.interp(at, np.arange(len(line)), line), axis, x)
    return x


def deeplab(weights, x, maps, stride, rates, last):
    """Compute the scores of each pixel; `rates` are those of the branches by the suffix of their layers."""
    height, width = x.shape[:2]
    missing = [(1 - side) % stride for side in (height, width)]
    x = maps(weights, np.pad(x, [*((more // 2, more - more // 2) for more in missing), (0, 0)]))
    total = 0
    for suffix, rate in rates.items():
        y = x
        if f"fc6{suffix}" in weights:
            y = relu(dilated_conv(y, *weights[f"fc6{suffix}"], rate))
            y = conv_relu(weights, y, f"fc7{suffix}")
            rate = 1
        total = total + dilated_conv(y, *weights[f"{last}{suffix}"], rate)
    return crop(interp(total, stride), height, width)


def deeplab_vgg11_maps(weights, x, average=True):
    for block, (count, stride) in enumerate(((1, 2), (1, 2), (2, 2), (2, 1), (2, 1)), 1):
        for k in range(1, count + 1):
            kernel, bias = weights[f"conv{block}_{k}"]
            x = relu(dilated_conv(x, kernel, bias, 2 if block == 5 else 1))
        x = max_pool(x, 3, stride, pad=1)
    if average:  # Caffe's average counts zeros around the maps
        x = average_pool(np.pad(x, [(1, 1), (1, 1), (0, 0)]), 3, 1)
    return x


def resnet20_maps(weights, x):
    return resnet_v1_maps(weights, relu(conv_bn(weights, x, "conv1", EPS, pad=1)), (3, 3, 3), "A")


# CRF-RNN (2015)


def mean_field(scores, image, matrices, iterations, position_std, color_std, spatial_std):
    """Refine scores by all pairs of pixels; `matrices` are spatial, bilateral and compatibility."""
    spatial, bilateral, compatibility = matrices
    height, width, classes = scores.shape
    positions = np.indices((height, width)).reshape(2, -1).T

    def kernel(features):
        weights = np.exp(-((features[:, None] - features[None]) ** 2).sum(-1) / 2)
        return weights / weights.sum(1, keepdims=True)

    near = kernel(positions / spatial_std)
    alike = kernel(np.hstack([positions / position_std, image.reshape(len(positions), -1) / color_std]))
    unary = q = scores.reshape(-1, classes)
    for _ in range(iterations):
        p = np.exp(q - q.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        q = unary - (near @ p @ spatial + alike @ p @ bilateral) @ compatibility
    return q.reshape(scores.shape)


FORWARDS = {
    "LeNet5": lenet5,
    "LeNet5Modern": lenet5_modern,
    "Maxout": maxout_cifar10,
    "NiN": nin,
    "NiNImageNet": nin_imagenet,
    "AlexNet": alexnet,
    "AlexNetOneTower": one_tower,
    "CaffeNet": caffenet,
    "ZFNet": zfnet,
    "VGG11LRN": partial(vgg, blocks=(1, 1, 2, 2, 2), norm1=printed_lrn),
    "VGG16C": partial(vgg, blocks=(2, 2, 3, 3, 3), third=1),
    "GoogLeNet": googlenet,
    "InceptionV2": inception_v2,
    "ResNet18": with_stem(resnet_v1, BASIC),
    "ResNet18V2": with_stem(resnet_v2, BASIC),
    "ResNet50": with_stem(resnet_v1, BOTTLENECK),
    "ResNet50V2": with_stem(resnet_v2, BOTTLENECK),
    "ResNet20": resnet20,
}
