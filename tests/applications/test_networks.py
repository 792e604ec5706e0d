"""What all networks have in common.

Their counts and shapes are those of the facts, they take the same arguments, and they learn.
"""

import ast
import functools
import inspect
import pydoc
import re

import facts
import keras
import numpy as np
import pytest
from conftest import ROOT
from families import (
    CHEAP_FIRST,
    COVERED,
    EVERY_NETWORK,
    EVERY_NETWORK_BUT_FILES_SLOW,
    FAMILIES,
    FILES,
    SMALL_FIRST,
    has_codes,
    minimum,
    random_images,
    small,
)

from keras_cnns import applications, saving
from keras_cnns.analysis import account
from keras_cnns.applications._facts import FACTS
from keras_cnns.saving import load_model, save_model

CLASSIFIERS = applications.list_models("classification")
SEGMENTATION = applications.list_models("segmentation")
DETECTION = applications.list_models("detection")
DEEP = ("ResNet101", "ResNet110", "ResNet152", "ResNet101V2", "ResNet152V2")  # built by the code of ResNet50 or 20


def slow_if(condition, *case):
    return pytest.param(*case, marks=[pytest.mark.slow] if condition else [])


def takes_long(name, options):
    """Whether counting is slow: of deep networks only the defaults are quick, of the largest ones only one."""
    if name in SEGMENTATION:
        return (name, options) != ("FCN8s", {}) and options.get("backbone") not in ("NiN", "ResNet20")
    if name in DETECTION:
        return (name, options) != ("SSD300", {}) and options != {} and name != "SSD"
    return bool(name in DEEP and options)


@pytest.mark.parametrize(
    "name, options, trainable, fixed",
    [slow_if(takes_long(*case[:2]), *case) for case in facts.PARAMETERS],
    ids=str,
)
def test_counts_and_shapes_are_those_of_the_facts(name, options, trainable, fixed):
    # Drawing random numbers would take most of the time
    zeros = {"kernel_initializer": "zeros", "bias_initializer": "zeros"}
    codes = {"codes": np.ones((100, 84))} if options.get("classes") == 100 and has_codes(name, options) else {}
    model = getattr(applications, name)(**zeros, **codes, **options)
    counts = [sum(int(np.prod(w.shape)) for w in ws) for ws in (model.trainable_weights, model.non_trainable_weights)]
    assert counts == [trainable, fixed] and model.count_params() == trainable + fixed
    macs = next((macs for *case, macs in facts.MACS if case == [name, options]), None)
    assert macs is not None, f"add the multiply-adds of {name} with {options} to MACS in tests/facts.py"
    counted = account(model)
    assert (counted.macs, counted.trainable, counted.fixed, counted.not_counted) == (macs, trainable, fixed, ())
    for other, conditions, layers in facts.LAYERS:
        if (other, conditions) == (name, options):
            for layer, (shape, count) in layers.items():
                assert model.get_layer(layer).output.shape == (None, *shape), layer
                assert model.get_layer(layer).count_params() == count, layer
    if not options:
        scores = model.output["scores"] if name in DETECTION else model.outputs[0]
        assert model.input_shape[1:] == FACTS[name].input_shape and scores.shape[-1] == FACTS[name].classes


def test_every_public_builder_and_option_has_facts_and_tests():
    names = set(applications.list_models())
    assert list(FACTS) == list(applications._BUILDERS), "FACTS of _facts.py has the builders in the same order"
    assert names == {name for name, *_ in facts.LAYERS}, "add the layers to LAYERS in tests/facts.py"
    for name, record in FACTS.items():
        assert (name, {}, record.parameters) in [row[:3] for row in facts.PARAMETERS]
        assert (name, {}, record.macs) in facts.MACS
    # Every option of every network is built and counted.
    counted = [*facts.PARAMETERS, *facts.residual_networks()]
    for name in names:
        signature = inspect.signature(getattr(applications, name)).parameters
        shared = {
            "dropout",
            "kernel_initializer",
            "bias_initializer",
            "codes",
            "activation",
            "backbone_weights",
            "backbone_options",
        }
        options = {key for key, value in signature.items() if value.kind is value.KEYWORD_ONLY} - shared
        if name.startswith("ResNet") and FACTS[name].input_shape[0] == 32 or name in SMALL_RESNETS:
            options.remove("stride_on")  # there are no bottlenecks
        for option in options:
            assert any(option in given for other, given, *_ in counted if other == name), f"{name}: {option}"


SMALL_RESNETS = ("ResNet18", "ResNet34", "ResNet18V2", "ResNet34V2")


@pytest.mark.parametrize(
    "name, options, trainable, fixed, macs",
    [
        pytest.param(*row, marks=pytest.mark.slow) if "1" in row[0][6:] and "18" not in row[0] else row
        for row in facts.residual_networks()
    ],
    ids=str,
)
def test_counts_of_every_residual_network_and_option(name, options, trainable, fixed, macs):
    model = getattr(applications, name)(kernel_initializer="zeros", **options)
    counted = account(model)
    assert (counted.trainable, counted.fixed, counted.macs) == (trainable, fixed, macs)
    for layer, (shape, _) in next(layers for other, o, layers in facts.LAYERS if (other, o) == (name, {})).items():
        if re.match(r"conv1$|pool1$|.*_out$|post_relu$|gap$|fc$", layer):
            assert model.get_layer(layer).output.shape == (None, *shape), layer


@functools.cache
def definition(name):
    """Return the syntax tree of a builder, as an editor reads it."""
    path = ROOT / "keras_cnns" / "applications" / f"{applications._BUILDERS[name]}.py"
    module = ast.parse(path.read_text("utf8"))
    (function,) = (node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return function


KERAS_ARGUMENTS = [
    "include_top",
    "weights",
    "input_tensor",
    "input_shape",
    "pooling",
    "classes",
    "classifier_activation",
    "name",
]


@pytest.mark.parametrize("name", applications.list_models())
def test_an_editor_shows_the_signature_without_importing(name):
    written, builder = definition(name).args, inspect.signature(getattr(applications, name))
    without = ("include_top", "pooling") if name in SEGMENTATION else ()  # of networks whose maps are the result
    without = ("include_top", "pooling", "classifier_activation") if name in DETECTION else without
    assert [argument.arg for argument in written.args] == [key for key in KERAS_ARGUMENTS if key not in without]
    assert [argument.arg for argument in (*written.args, *written.kwonlyargs)] == list(builder.parameters)
    assert all(argument.annotation for argument in (*written.args, *written.kwonlyargs))
    assert ast.unparse(definition(name).returns) == "keras.Model"


@pytest.mark.parametrize("name", applications.list_models())
def test_help_lists_every_argument_and_the_written_docstring(name):
    builder = getattr(applications, name)
    text = pydoc.plain(pydoc.render_doc(builder))
    for argument in inspect.signature(builder).parameters:
        assert re.search(rf"\b{argument}: ", text), argument
    assert inspect.getdoc(builder) == ast.get_docstring(definition(name))
    assert builder.__name__ == builder.__qualname__ == name


# The member of each family whose docstring the others name
DOCUMENTED = {
    "FCN": "FCN8s",
    "SSD": "SSD300",
    "VGG": "VGG16",
    "ResNet": "ResNet50",
    "ResNetV2": "ResNet50V2",
    "CIFAR": "ResNet20",
}


def documented_builder(name):
    """The builder whose docstring has the arguments of `name`."""
    if name.startswith(("VGG", "FCN")) or name == "SSD512":
        return DOCUMENTED[name[:3]]
    if name.startswith("ResNet"):
        return DOCUMENTED["CIFAR" if FACTS[name].input_shape[0] == 32 else "ResNetV2" if "V2" in name else "ResNet"]
    return name


@pytest.mark.parametrize("name", sorted({documented_builder(name) for name in applications.list_models()}))
def test_a_docstring_documents_every_argument_once(name):
    text = inspect.getdoc(getattr(applications, name))
    for argument in inspect.signature(getattr(applications, name)).parameters:
        assert text.count(f"\n    {argument}: ") == 1, argument
    for section in ("Args:", "Returns:", "Raises:", "Reference:", "Examples:"):
        assert f"\n{section}\n    " in text


@pytest.mark.parametrize("name", [name for name in applications.list_models() if documented_builder(name) != name])
def test_a_docstring_names_the_documented_member_of_its_family(name):
    assert f"`{documented_builder(name)}`" in inspect.getdoc(getattr(applications, name))


@pytest.mark.parametrize("name", [name for name in applications.list_models() if not name.startswith("ResNet")])
def test_a_docstring_says_the_number_of_parameters(name):
    assert f"{FACTS[name].parameters:,}" in inspect.getdoc(getattr(applications, name))


# Layers by which people cut networks, in the order of the network; each docstring names them.
STAGES = {
    "LeNet5": ("C1", "S2", "C3", "S4", "C5", "F6", "rbf", "minus"),
    "LeNet5Modern": ("C1", "S2", "C3", "S4", "C5", "F6", "output"),
    "NiN": ("conv1", "cccp2", "pool1", "conv2", "cccp4", "pool2", "conv3", "cccp5", "cccp6", "gap"),
    "NiNImageNet": ("conv1", "cccp2", "pool1", "conv3", "cccp6", "pool3", "conv4", "cccp7", "cccp8", "gap"),
    "Maxout": ("h0_conv", "h0_maxout", "h0_pool", "h1_conv", "h2_pool", "h3_dense", "h3_maxout", "y"),
    "AlexNet": ("conv1", "norm1", "pool1", "conv2", "norm2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc8"),
    "CaffeNet": ("pool1", "norm1", "pool2", "norm2"),
    "AlexNetOneTower": ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8"),
    "ZFNet": ("conv1", "pool1", "norm1", "conv2", "pool2", "norm2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc8"),
    "VGG11LRN": ("conv1_1", "norm1"),
    "VGG16": ("conv1_1", "pool1", "conv2_1", "pool5", "fc6", "fc7", "fc8"),
    "GoogLeNet": ("conv1_7x7_s2", "pool1", "norm1", "conv2_3x3", "norm2", "pool2", "inception_3a_output", "pool5"),
    "InceptionV2": ("conv1_7x7_s2", "pool1", "conv2_3x3", "pool2", "inception_3a_output", "inception_5b_output", "gap"),
    "InceptionV3": ("conv1a", "conv2a", "conv2b", "pool1", "conv3b", "conv4a", "pool2", "gap", "fc"),
    "ResNet18": ("conv2_2_out", "conv3_2_out", "conv4_2_out", "conv5_2_out"),
    "ResNet34": ("conv2_3_out", "conv3_4_out", "conv4_6_out", "conv5_3_out"),
    "ResNet50": ("conv1", "pool1", "conv2_3_out", "conv3_4_out", "conv4_6_out", "conv5_3_out", "gap", "fc"),
    "ResNet101": ("conv2_3_out", "conv3_4_out", "conv4_23_out", "conv5_3_out"),
    "ResNet152": ("conv2_3_out", "conv3_8_out", "conv4_36_out", "conv5_3_out"),
    "ResNet18V2": ("conv2_2_out", "conv3_2_out", "conv4_2_out", "conv5_2_out"),
    "ResNet34V2": ("conv2_3_out", "conv3_4_out", "conv4_6_out", "conv5_3_out"),
    "ResNet50V2": ("conv1", "pool1", "conv2_3_out", "conv3_4_out", "conv4_6_out", "conv5_3_out", "post_relu", "gap"),
    "ResNet101V2": ("conv2_3_out", "conv3_4_out", "conv4_23_out", "conv5_3_out"),
    "ResNet152V2": ("conv2_3_out", "conv3_8_out", "conv4_36_out", "conv5_3_out"),
    "ResNet20": ("conv1", "conv2_3_out", "conv3_3_out", "conv4_3_out", "gap", "fc"),
    "ResNet32": ("conv2_5_out", "conv3_5_out", "conv4_5_out"),
    "ResNet44": ("conv2_7_out", "conv3_7_out", "conv4_7_out"),
    "ResNet56": ("conv2_9_out", "conv3_9_out", "conv4_9_out"),
    "ResNet110": ("conv2_18_out", "conv3_18_out", "conv4_18_out"),
}


@pytest.mark.parametrize(
    "table, covered",
    [
        ("FAMILIES in tests/families.py", {name for name, _ in FAMILIES}),
        ("STAGES in tests/applications/test_networks.py", set(STAGES)),
    ],
)
def test_every_file_of_networks_is_tested(table, covered):
    """A network that is missing there is built by slow tests alone."""
    files = {applications._BUILDERS[name] for name in covered}
    of_classifiers = {applications._BUILDERS[name] for name in CLASSIFIERS}
    assert of_classifiers - files == set(), f"add a network of these files to {table}"


@pytest.mark.parametrize("name, stages", [slow_if(name in DEEP, name, stages) for name, stages in STAGES.items()])
def test_stages_are_layers_in_this_order_and_the_docstring_names_them(name, stages):
    model = small(name, {}, kernel_initializer="zeros")
    layer_names = [layer.name for layer in model.layers]
    assert [layer for layer in layer_names if layer in stages] == list(stages)
    text = inspect.getdoc(getattr(applications, name))
    for stage in stages:
        assert stage in text, stage


@pytest.mark.parametrize("name, options", EVERY_NETWORK, ids=str)
def test_the_smallest_input_works_and_a_smaller_one_is_an_error(name, options):
    side = minimum(name, options)
    model = small(name, options, 1, input_shape=(side, side, 1))
    outputs = model(random_images(model, 1), training=False)
    for output in outputs if isinstance(outputs, list) else [outputs]:
        assert np.isfinite(output).all()
    with pytest.raises(ValueError, match=f"at least {side}x{side} pixels.*Received: input_shape="):
        small(name, options, input_shape=(side - 1, side, 1))


@pytest.mark.parametrize("name, options", SMALL_FIRST, ids=str)
def test_the_arguments_of_keras_applications(name, options):
    builder = getattr(applications, name)
    side = max(64, minimum(name, options))
    body = builder(include_top=False, input_shape=(None, None, 3), **options)
    assert len(body.output_shape) == 4 and body.output_shape[1:3] == (None, None)
    channels = body.output_shape[-1]
    x = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype("float32")
    maps = np.asarray(body(x, training=False))
    for pooling, reduce in (("avg", np.mean), ("max", np.max)):
        pooled = builder(include_top=False, input_shape=(side, side, 3), pooling=pooling, **options)
        assert pooled.output_shape == (None, channels)
        pooled.set_weights(body.get_weights())
        # Known and unknown sizes give the same numbers, with pools that round up too.
        np.testing.assert_allclose(pooled(x, training=False), reduce(maps, axis=(1, 2)), rtol=1e-3, atol=1e-4)
    four = small(name, options, 4, classifier_activation=None, name="mine")
    assert four.name == "mine" and four.input_shape[-1] == 4 and four.outputs[0].shape == (None, 4)
    given = keras.Input((side, side, 3), name="given")
    nested = small(name, options, input_shape=None, input_tensor=keras.layers.Rescaling(2.0)(given))
    assert nested.input is given


@pytest.mark.parametrize(
    "name",
    [
        slow_if(name in ("VGG11LRN", "GoogLeNet", "InceptionV2", "ResNet50", "ResNet18V2"), name)
        for name, options in FAMILIES
        if not options and name != "LeNet5"
    ],
)
def test_probabilities_are_the_softmax_of_the_logits(name):
    logits, probabilities = small(name, {}, classifier_activation=None), small(name, {})
    probabilities.set_weights(logits.get_weights())
    x = random_images(logits, 2)
    z = np.asarray(logits(x, training=False))
    expected = np.exp(z - z.max()) / np.exp(z - z.max()).sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities(x, training=False), expected, rtol=1e-4, atol=1e-6)


def differs_in_training_mode(model, x):
    """For each output, whether training and inference mode differ."""
    training, inference = model(x, training=True), model(x, training=False)
    pairs = zip(training, inference, strict=True) if isinstance(training, list) else [(training, inference)]
    return [not np.allclose(trained, inferred, rtol=1e-4, atol=1e-5) for trained, inferred in pairs]


@pytest.mark.parametrize("name, options", EVERY_NETWORK_BUT_FILES_SLOW, ids=str)
def test_every_weight_gets_a_gradient_and_the_loss_falls(name, options):
    """Train on a fixed batch.

    Dropout and batch normalization also make training mode differ from inference mode.
    """
    import tensorflow as tf

    biases = {"bias_initializer": keras.initializers.Constant(0.1)} if name.startswith("NiN") else {}
    kernels = {} if name.startswith(("LeNet", "Maxout")) else {"kernel_initializer": "he_normal"}
    model = small(name, options, dropout=0.0, **biases, **kernels)
    x, y = random_images(model), np.arange(8) % 4
    heads = len(model.outputs)
    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        outputs = outputs if heads > 1 else [outputs]
        loss = sum(tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, output)) for output in outputs)
    gradients = tape.gradient(loss, model.trainable_weights)
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert np.isfinite(gradient).all() and np.any(gradient), weight.path
    # Gradients of untrained deep networks are large (a norm of 8000 without shortcuts). A step that lowers the linear
    # approximation of the loss by a hundredth also lowers the loss; a longer one may not.
    rate = min(1e-3, 0.01 * float(loss) / float(tf.linalg.global_norm(gradients)) ** 2)
    model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
    losses = model.fit(x, [y] * heads if heads > 1 else y, epochs=10, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]

    normalized = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    assert differs_in_training_mode(model, x) == [normalized] * heads
    dropped = small(name, options, dropout=0.5, **biases)
    assert all(differs_in_training_mode(dropped, x))


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        [  # only one of the networks with large dense layers, without top
            *(case for case in FILES if case[0] not in ("AlexNet", "ZFNet", "VGG11LRN")),
            ("AlexNet", {"include_top": False}),
        ],
        pytest.param([case.values for case in EVERY_NETWORK_BUT_FILES_SLOW[len(FILES) :]], marks=pytest.mark.slow),
    ],
    ids=["small", "every"],
)
def test_saved_networks_are_the_same_in_a_fresh_process(names, tmp_path, python):
    expected = {}
    for k, (name, options) in enumerate(names):
        model = small(name, options)
        save_model(model, tmp_path / f"{k}.keras")
        x = random_images(model, 2)
        outputs = model(x, training=False)
        expected[k] = outputs if isinstance(outputs, list) else [outputs]
        np.save(tmp_path / f"{k}.x.npy", x)
        del model
        keras.backend.clear_session()
    done = python(
        """
import sys, numpy as np
from keras_cnns.saving import load_model
for k in range(int(sys.argv[2])):
    outputs = load_model(f"{sys.argv[1]}/{k}.keras")(np.load(f"{sys.argv[1]}/{k}.x.npy"), training=False)
    np.savez(f"{sys.argv[1]}/{k}.npz", *(outputs if isinstance(outputs, list) else [outputs]))
""",
        tmp_path,
        len(expected),
    )
    assert done.returncode == 0, done.stderr
    for k, outputs in expected.items():
        for output, loaded in zip(outputs, np.load(tmp_path / f"{k}.npz").values(), strict=True):
            np.testing.assert_array_equal(output, loaded)


@pytest.mark.parametrize("name, options", CHEAP_FIRST, ids=str)
def test_the_last_activation_is_float32_under_mixed_precision(name, options):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small(name, options)
    finally:
        keras.config.set_dtype_policy("float32")
    first = next(layer for layer in model.layers if layer.weights)
    assert first.compute_dtype == "bfloat16" and model.get_layer("predictions").compute_dtype == "float32"
    assert {layer.compute_dtype for layer in model.layers if layer.name == "rbf"} <= {"float32"}
    outputs = model(random_images(model, 1), training=False)
    assert {
        keras.backend.standardize_dtype(x.dtype) for x in (outputs if isinstance(outputs, list) else [outputs])
    } == {"float32"}


@pytest.mark.parametrize("name, options", CHEAP_FIRST, ids=str)
def test_an_initializer_object_draws_other_weights_for_every_layer(name, options):
    """Keras's initializer objects draw equal numbers for equal shapes."""
    model = small(name, options, kernel_initializer=keras.initializers.HeNormal())
    seen = {}
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            kernel = np.asarray(layer.kernel)
            assert not any(np.array_equal(kernel, other) for other in seen.get(kernel.shape, [])), layer.name
            seen.setdefault(kernel.shape, []).append(kernel)


@pytest.mark.parametrize("name, options", CHEAP_FIRST, ids=str)
def test_explicit_initializers_are_used_in_every_layer(name, options):
    model = small(name, options, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.25))
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            assert not np.any(layer.kernel), layer.name
        if getattr(layer, "bias", None) is not None:
            assert np.all(np.asarray(layer.bias) == 0.25), layer.name


@pytest.mark.parametrize("name", sorted(COVERED))
def test_channels_first_is_an_error(name):
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels last.*set_image_data_format"):
            getattr(applications, name)()
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("name", ["LeNet5", "Maxout", "AlexNet", "ZFNet", "VGG11", "AlexNetOneTower"])
def test_a_dense_classifier_needs_a_known_size(name):
    with pytest.raises(ValueError, match="`input_shape`, or include_top=False. Received: input_shape=.None, None, 3"):
        getattr(applications, name)(input_shape=(None, None, 3))


@pytest.mark.parametrize("name", ["GoogLeNet", "InceptionV3"])
def test_auxiliary_heads_need_a_known_size(name):
    with pytest.raises(ValueError, match="`input_shape`, or auxiliary=False. Received: input_shape=.None, None, 3"):
        getattr(applications, name)(input_shape=(None, None, 3), auxiliary=True)


@pytest.mark.parametrize(
    "name",
    [
        slow_if(name.startswith("Inception"), name)
        for name in ("NiN", "GoogLeNet", "InceptionV2", "InceptionV3", "ResNet18", "ResNet20")
    ],
)
def test_networks_without_dense_layers_take_any_size(name):
    model = getattr(applications, name)(input_shape=(None, None, 3), classes=5)
    for height, width in ((96, 80), (75, 107)):
        x = np.ones((1, height, width, 3), "float32")
        assert model(x, training=False).shape == (1, 5)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("LeNet5", {"c3": "half"}, "`c3` must be one of None, 'table', 'full'"),
        ("LeNet5", {"classes": 12}, r"`codes` must be an array \(12, 84\) of \+1 and -1.*head='softmax'"),
        ("LeNet5", {"codes": np.zeros((10, 84))}, r"array \(10, 84\) of \+1 and -1"),
        ("Maxout", {"variant": "cifar100"}, "`variant` must be one of None, 'cifar10', 'svhn', 'mnist'"),
        ("AlexNet", {"groups": 3}, "`groups` must be one of None, 2, 1. Received: groups=3"),
        ("ZFNet", {"wide": "yes"}, "`wide` must be one of None, False, True"),
        ("InceptionV3", {"stem": 299}, "`stem` must be one of None, '299', '151', '79'"),
        ("ResNet18", {"stride_on": "3x3"}, "`stride_on` chooses a layer of bottlenecks"),
        ("ResNet50", {"shortcut": "D"}, "`shortcut` must be one of None, 'B', 'A', 'C'"),
        ("VGG16", {"classes": -1}, "VGG16: `classes` must be a whole number"),
        ("VGG11", {"weights": "imagenet"}, "VGG11: there are no weights of that name; none ship"),
        ("GoogLeNet", {"auxiliary": True, "input_shape": (64, 64, 3)}, "at least 79x79 pixels"),
        ("ResNet50", {"pooling": "mean", "include_top": False}, "`pooling` must be one of None, 'avg', 'max'"),
        ("ResNet50", {"pooling": "mean"}, "`pooling` must be one of None, 'avg', 'max'"),
        ("ResNet20", {"residual": False, "shortcut": "C"}, "there are no shortcuts with residual=False"),
        ("ResNet20", {"dropout": None}, "`dropout` must be a share .* Received: dropout=None"),
        ("ResNet20", {"dropout": 1.5}, "`dropout` must be a share"),
        ("ResNet20", {"dropout": True}, "`dropout` must be a share"),
        ("LeNet5", {"codes": [[1], [1, 2]]}, r"`codes` must be an array \(10, 84\)"),
        ("LeNet5", {"head": "softmax", "codes": np.ones((10, 84))}, "`codes` are those of head='rbf'"),
        (
            "NiN",
            {"include_top": "cifar10"},
            "`include_top` must be True.*pass weights='cifar10'. Received: include_top='c",
        ),
        ("NiN", {"include_top": None}, "`include_top` must be True, or False .* Received: include_top=None"),
        ("NiN", {"input_shape": (3, 32, 32)}, r"the channels last: \(32, 32, 3\). Received: input_shape=\(3, 32, 32\)"),
        ("LeNet5Modern", {"input_shape": (1, 28, 28)}, r"the channels last: \(28, 28, 1\)"),
        ("NiNImageNet", {"widths": 5}, "`widths` must be four whole numbers"),
        ("NiNImageNet", {"widths": (96, 256, 384)}, "`widths` must be four whole numbers"),
        ("NiNImageNet", {"mlp_layers": "2"}, "`mlp_layers` at least 1"),
        ("GoogLeNet", {"auxiliary": "no"}, "`auxiliary` must be one of False, True"),
        ("AlexNet", {"weights": ["a"]}, "`weights` must be a name or a path"),
        ("AlexNet", {"weights": "/tmp/model.h5"}, "weights come from a .keras, .weights.h5 or .safetensors file"),
        ("AlexNet", {"input_tensor": np.ones((1, 227, 227, 3))}, "`input_tensor` must be a Keras tensor"),
        ("AlexNet", {"input_tensor": keras.Input((5,))}, "`input_tensor` must be of images"),
        ("AlexNet", {"classifier_activation": keras.layers.Softmax()}, "must be the name of a Keras activation"),
    ],
)
def test_an_error_names_the_wrong_argument(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(applications, name)(**options)


@pytest.mark.slow
@pytest.mark.parametrize("name, main, heads", [("GoogLeNet", 79, 2), ("InceptionV3", 107, 1)])
def test_weights_trained_with_auxiliary_heads_fit_without(name, main, heads, tmp_path):
    builder, shape = getattr(applications, name), (main, main, 3)
    trained = builder(auxiliary=True, input_shape=shape, classes=4)
    assert len(trained.outputs) == 1 + heads and trained.output_names[0] == "predictions"
    assert all(output.endswith("_predictions") for output in trained.output_names[1:])
    save_model(trained, tmp_path / "trained.keras")
    plain = builder(weights=tmp_path / "trained.keras", input_shape=shape, classes=4)
    again = builder(weights=tmp_path / "trained.keras", auxiliary=True, input_shape=shape, classes=4)
    x = random_images(plain, 2)
    expected = [np.asarray(output) for output in trained(x, training=False)]
    np.testing.assert_array_equal(plain(x, training=False), expected[0])
    for output, expected_output in zip(again(x, training=False), expected, strict=True):
        np.testing.assert_array_equal(output, expected_output)
    save_model(plain, tmp_path / "plain.keras")
    with pytest.raises(ValueError, match="the weights do not fit the network: missing there: "):
        builder(weights=tmp_path / "plain.keras", auxiliary=True, input_shape=shape, classes=4)


@pytest.mark.parametrize(
    "saved, built, options, part",
    [
        ("CaffeNet", "AlexNet", ({}, {}), "norm1 has k=1.0, here 2.0"),
        ("VGG11LRN", "VGG11", ({}, {}), "left over there: norm1"),
        slow_if(True, "ResNet50", "ResNet50", ({"stride_on": "3x3"}, {}), "otherwise set: conv3_1_conv1 has strides="),
        ("ResNet20", "ResNet20", ({}, {"residual": False}), "left over there: conv2_1_add"),
        (
            "LeNet5",
            "LeNet5",
            ({"subsampling": "max"}, {"subsampling": "average"}),
            "S2 has kind=MaxPooling2D",
        ),
    ],
)
def test_weights_of_a_network_that_computes_something_else_are_an_error(saved, built, options, part, tmp_path):
    """Equal names and shapes are not enough.

    A file of plain Keras has no record that would tell the difference.
    """
    side = FACTS[saved].minimum + 4
    codes = {"codes": np.ones((3, 84))} if saved == "LeNet5" else {}
    shape = {"input_shape": (side, side, 3), "kernel_initializer": "zeros", "classes": 3, **codes}
    getattr(applications, saved)(**shape, **options[0]).save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match="the weights do not fit the network: .*" + re.escape(part)):
        getattr(applications, built)(**shape, **options[1], weights=tmp_path / "a.keras")
    again = getattr(applications, saved)(**shape, **options[0], weights=tmp_path / "a.keras")
    assert again.count_params() > 0


def test_weights_are_loaded_after_layers_of_the_caller(tmp_path):
    normalization = keras.layers.Normalization(axis=-1)
    normalization.adapt(np.random.default_rng(0).normal(5, 2, (8, 32, 32, 1)))
    pixels = keras.Input((32, 32, 1))
    model = applications.NiN(weights="digits", input_tensor=normalization(pixels))
    plain, x = applications.NiN(weights="digits"), random_images(model, 2)
    np.testing.assert_allclose(model(x), plain(normalization(x)), atol=1e-6)
    with pytest.raises(ValueError, match="`input_shape` must be .32, 32, 1. with weights='digits'"):
        applications.NiN(weights="digits", input_tensor=keras.Input((28, 28, 1)))


def test_the_size_of_the_weights_is_the_default_without_top_too():
    assert applications.NiN(weights="digits", include_top=False).input_shape == (None, 32, 32, 1)


@keras.saving.register_keras_serializable()
class Registered(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return keras.ops.full(shape, 0.5, dtype)


class Unregistered(Registered):
    pass


@pytest.mark.parametrize("initializer", [Registered(), Unregistered(), "ones", lambda shape, dtype: np.ones(shape)])
def test_custom_initializers_are_accepted(initializer):
    model = applications.LeNet5Modern(kernel_initializer=initializer)
    assert set(np.unique(model.get_layer("C5").kernel)) <= {0.5, 1.0}


@pytest.mark.parametrize("name, options", FAMILIES, ids=str)
def test_integers_of_numpy_are_accepted(name, options):
    codes = {"codes": np.ones((7, 84))} if has_codes(name, options) else {}
    side = np.int64(max(minimum(name, options), 16))
    shape = np.array([side, side, 1])
    model = getattr(applications, name)(
        classes=np.int64(7), input_shape=shape, kernel_initializer="zeros", **codes, **options
    )
    assert model.input_shape == (None, side, side, 1) and model.outputs[0].shape == (None, 7)


def test_alexnets_weights_fit_keras_grouped_convolutions():
    """A network with grouped convolutions computes the same."""
    ours = small("AlexNet", {})
    x = inputs = keras.Input(ours.input_shape[1:])
    for layer in ours.layers[1:]:
        if type(layer).__name__ == "SplitConv2D":
            x = keras.layers.Conv2D.from_config(layer.get_config())(x)
        else:
            x = type(layer).from_config(layer.get_config())(x)
    native = keras.Model(inputs, x)
    native.set_weights(ours.get_weights())
    assert native.get_layer("conv2").groups == 2 and ours.get_layer("conv2").count_params() == 307_456
    pixels = random_images(ours, 2)
    np.testing.assert_allclose(ours(pixels, training=False), native(pixels, training=False), rtol=1e-4, atol=1e-6)


def test_lenets_codes_are_digits_that_differ_in_many_pixels():
    from keras_cnns.applications.lenet import digit_codes

    codes = digit_codes()
    assert codes.shape == (10, 84) and set(codes.ravel()) == {-1, 1}
    distances = (codes[:, None] != codes[None]).sum(-1)
    assert distances[~np.eye(10, dtype=bool)].min() >= 9  # of 84 pixels
    digit_one = codes[1].reshape(12, 7)
    assert digit_one[:, 3].sum() == 12  # a stroke down the middle


def test_lenets_probabilities_are_the_softmax_of_minus_the_distance(tmp_path):
    codes = np.sign(np.random.default_rng(0).normal(size=(3, 84)))
    model = applications.LeNet5(classes=3, codes=codes)
    x = random_images(model, 2)
    distances = np.asarray(keras.Model(model.input, model.get_layer("rbf").output)(x))
    f6 = np.asarray(keras.Model(model.input, model.get_layer("F6").output)(x), "float64")
    np.testing.assert_allclose(distances, ((f6[:, None] - codes) ** 2).sum(-1), rtol=1e-5)
    logits = applications.LeNet5(classes=3, codes=codes, classifier_activation=None)
    logits.set_weights(model.get_weights())
    np.testing.assert_allclose(logits(x), -distances, rtol=1e-6)
    exponentials = np.exp(-distances + distances.min(1, keepdims=True))
    np.testing.assert_allclose(model(x), exponentials / exponentials.sum(1, keepdims=True), rtol=1e-5)
    # A file contains its codes.
    save_model(model, tmp_path / "three.keras")
    again = applications.LeNet5(classes=3, weights=tmp_path / "three.keras")
    np.testing.assert_array_equal(again(x), model(x))
    np.testing.assert_array_equal(load_model(tmp_path / "three.keras").get_layer("rbf").codes, codes)
    np.testing.assert_array_equal(again.get_layer("rbf").get_config()["codes"], codes)
    with pytest.raises(ValueError, match="`codes` must be those of the weights"):
        applications.LeNet5(classes=3, weights=tmp_path / "three.keras", codes=-codes)


def test_options_left_out_come_from_the_record(tmp_path):
    from keras_cnns.saving import ModelInfo

    options = {"shortcut": "C", "residual": True, "classes": 3, "input_shape": (16, 16, 1)}
    model = applications.ResNet20(**options)
    save_model(model, tmp_path / "mine.keras", ModelInfo(builder="ResNet20", network=options))
    again = applications.ResNet20(weights=tmp_path / "mine.keras")
    assert again.count_params() == model.count_params() and again.input_shape == (None, 16, 16, 1)
    with pytest.raises(ValueError, match="`shortcut` must be 'C' with weights"):
        applications.ResNet20(weights=tmp_path / "mine.keras", shortcut="A")


JAX = """
import sys, numpy as np, keras
from keras_cnns import applications, saving
assert "tensorflow" not in sys.modules and keras.backend.backend() == "jax"
import jax
models = []
for k, (name, options) in enumerate(eval(sys.argv[1])):
    model = getattr(applications, name)(**options)
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype("float32")
    y = np.arange(4) % 4
    values = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]

    def loss(trainable, fixed):
        outputs, _ = model.stateless_call(trainable, fixed, x, training=True)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        return sum(keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, output)) for output in outputs)

    total, gradients = jax.jit(jax.value_and_grad(loss))(*values)
    assert np.isfinite(total) and all(np.isfinite(g).all() for g in gradients), name
    assert all(np.any(g) for g in gradients), name
    models.append(model)
    outputs, _ = jax.jit(lambda *values: model.stateless_call(*values, x, training=False))(*values)
    np.save(f"{sys.argv[2]}/{k}.npy", outputs[0] if isinstance(outputs, list) else outputs)
assert "tensorflow" not in sys.modules
for k, model in enumerate(models):  # to write a file, Keras itself imports TensorFlow if it is installed
    model.save(f"{sys.argv[2]}/{k}.keras")
"""


@pytest.mark.slow
@pytest.mark.parametrize("cases", [FAMILIES[: len(FAMILIES) // 2], FAMILIES[len(FAMILIES) // 2 :]])
def test_networks_train_under_jax_and_their_files_compute_the_same_in_tensorflow(cases, tmp_path, python):
    networks = []
    for name, options in cases:
        side = max(minimum(name, options), 16)
        biases = {"bias_initializer": "ones"} if name.startswith("NiN") else {}
        codes = {"codes": np.tile([[1, -1]], (4, 42)).tolist()} if has_codes(name, options) else {}
        common = {"input_shape": (side, side, 3), "classes": 4, "dropout": 0.0}
        networks.append((name, {**common, **codes, **biases, **options}))
    done = python(JAX, repr(networks), tmp_path, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
    for k in range(len(cases)):
        model = load_model(tmp_path / f"{k}.keras")
        outputs = model(random_images(model, 4), training=False)
        ours = outputs[0] if isinstance(outputs, list) else outputs
        np.testing.assert_allclose(ours, np.load(tmp_path / f"{k}.npy"), atol=1e-5)


@pytest.mark.parametrize(
    "name, options",
    [
        ("NiNImageNet", {"widths": np.array([4, 4, 4, 4]), "mlp_layers": np.int64(1), "input_shape": (64, 64, 3)}),
        ("NiN", {"input_shape": np.array([32, 32, 3]), "include_top": np.bool_(True)}),
        ("AlexNetOneTower", {"input_shape": (63, 63, 3)}),
        ("GoogLeNet", {"input_shape": (64, 64, 3), "auxiliary": np.bool_(False)}),
    ],
)
def test_numbers_of_numpy_can_be_saved(name, options, tmp_path):
    options |= {"classes": np.int64(3), "dropout": np.float32(0.25), "kernel_initializer": "zeros"}
    model = getattr(applications, name)(**options)
    saving.save_model(model, tmp_path / "model.keras")
    loaded = saving.load_model(tmp_path / "model.keras")
    assert [weight.shape for weight in loaded.weights] == [weight.shape for weight in model.weights]
    assert {layer.rate for layer in loaded.layers if isinstance(layer, keras.layers.Dropout)} == {0.25}


def test_an_option_that_equals_a_choice_becomes_that_choice():
    model = applications.InceptionV3(scale=1, stem="79", kernel_initializer="zeros")
    assert model.get_layer("conv1a_bn").get_config()["scale"] is True
