"""Train a network on MNIST, Fashion-MNIST or CIFAR-10.

    python scripts/train_small_images.py RUN SOURCE [--epochs N] [--on-device] [--output model.keras] [--smoke]

SOURCE is an .npz file or tfds:NAME. The last line printed is the accuracy on the test split. No run was made here in
full; the weights that ship (error in parentheses) come from `cnn-train`, as docs/guides/weights.md says.

| RUN | test error in the paper | notes |
|---|---|---|
| lenet5-mnist | 0.95 %, with distorted images 0.8 % (section III.B) | ships: lenet5-modern (0.56 %) |
| nin-cifar10 | 8.81 % with shifts and mirrors (table 1) | hours on a GPU; ships: nin-modern, -again (12.44 %) |
| nin-fashion_mnist | none; the author's widths for MNIST | ships: this recipe (6.44 %), 40 minutes on 2 AMX cores |
| resnet20-cifar10 | 8.75 % (table 6) | minutes on a GPU, hours on a CPU |
"""

import _common
import keras

from keras_cnns import applications, data, recipes, training

# Network, recipe, and the shape of its images, which --smoke makes up
RUNS = {
    "lenet5-mnist": ("LeNet5", recipes.LENET5_MNIST, (28, 28, 1)),
    "nin-cifar10": ("NiN", recipes.NIN_CIFAR10, (32, 32, 3)),
    "nin-fashion_mnist": ("NiN", recipes.NIN_FASHION_MNIST_MODERN, (28, 28, 1)),
    "resnet20-cifar10": ("ResNet20", recipes.RESNET_CIFAR10, (32, 32, 3)),
}
ON_DEVICE = ("--on-device", {"action": "store_true", "help": "keep all images in the memory of the GPU or TPU"})


def main() -> None:
    """Train the network, save it, and measure it on the test split."""
    arguments = _common.arguments(__doc__, ON_DEVICE, runs=RUNS)
    builder, recipe, shape = RUNS[arguments.run]
    source, recipe = _common.source_and_recipe(arguments, recipe, shape, classes=10)
    train, validation = source.split("train").divide(0.1, seed=0)

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(training.policy_for(recipe.precision))
    network = {"classes": len(source.class_names), **recipe.network}
    model = getattr(applications, builder)(**network)
    training.set_biases(model, recipe)

    *size, channels = model.input_shape[1:]
    preprocessing = data.Preprocessing(size, channels, training.shorter_side(source, size, recipe), fit=recipe.fit)
    preprocessing = data.fit_preprocessing(train, preprocessing, recipe.preprocessing)
    if arguments.on_device:
        trained, fitted = _common.on_device(model, recipe, preprocessing, train, validation)
    else:
        trained = model
        batches, validation_batches = training.make_datasets(model, recipe, preprocessing, train, validation)
        fitted = {"x": batches, "validation_data": validation_batches, "shuffle": False}  # the pipeline shuffles
    training.compile_model(trained, recipe, steps_per_epoch=-(-train.examples // recipe.batch_size))
    trained.fit(**fitted, epochs=recipe.epochs, callbacks=training.callbacks(None, recipe), verbose=2)

    _common.save_and_measure(arguments.output, model, preprocessing, builder, network, recipe, source)


if __name__ == "__main__":
    main()
