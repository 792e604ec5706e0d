"""Train a network on ImageNet as in its paper.

    python scripts/train_imagenet.py NETWORK SOURCE [--epochs N] [--output model.keras] [--smoke]

SOURCE is a folder DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg of ImageNet, or tfds:imagenet2012. Each run takes days
on one GPU; none has been made here. The last line printed is the accuracy on the test split, with one view per image.

| NETWORK | error in its paper | command |
|---|---|---|
| AlexNet | 40.7 % top-1, 18.2 % top-5 with ten crops (table 2) | python scripts/train_imagenet.py AlexNet DIR |
| VGG16 | 25.6 % top-1, 8.1 % top-5 at one scale (table 3) | python scripts/train_imagenet.py VGG16 DIR |
| GoogLeNet | 10.07 % top-5 with one crop (table 3) | python scripts/train_imagenet.py GoogLeNet DIR |
| InceptionV3 | 21.2 % top-1, 5.6 % top-5 with one crop (table 3) | python scripts/train_imagenet.py InceptionV3 DIR |
| ResNet50 | 22.85 % top-1, 6.71 % top-5 with ten crops (table 3) | python scripts/train_imagenet.py ResNet50 DIR |
"""

import _common
import keras

from keras_cnns import applications, data, recipes, training

# Recipe, and the shape of the images that --smoke makes, which are larger than the network's input
RUNS = {
    "AlexNet": (recipes.ALEXNET_IMAGENET, (240, 260, 3)),
    "VGG16": (recipes.VGG_IMAGENET, (240, 260, 3)),
    "GoogLeNet": (recipes.GOOGLENET_IMAGENET, (240, 260, 3)),
    "InceptionV3": (recipes.INCEPTION_V3_IMAGENET, (310, 320, 3)),
    "ResNet50": (recipes.RESNET_IMAGENET, (240, 260, 3)),
}


def main() -> None:
    """Train the network, save it, and measure it on the test split."""
    arguments = _common.arguments(__doc__, runs=RUNS)
    recipe, shape = RUNS[arguments.run]
    source, recipe = _common.source_and_recipe(arguments, recipe, shape, classes=3)
    train, validation = source.split("train").divide(0.02, seed=0)

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(training.policy_for(recipe.precision))
    network = {"classes": len(source.class_names), **recipe.network}
    model = getattr(applications, arguments.run)(**network)
    training.set_biases(model, recipe)

    *size, channels = model.input_shape[1:]
    preprocessing = data.Preprocessing(size, channels, training.shorter_side(source, size, recipe), fit=recipe.fit)
    preprocessing = data.fit_preprocessing(train, preprocessing, recipe.preprocessing)
    batches, validation_batches = training.make_datasets(model, recipe, preprocessing, train, validation)
    training.compile_model(model, recipe, steps_per_epoch=len(batches))
    callbacks = training.callbacks(None, recipe)
    settings = {"epochs": recipe.epochs, "callbacks": callbacks, "verbose": 2}
    model.fit(batches, validation_data=validation_batches, shuffle=False, **settings)  # the pipeline shuffles

    _common.save_and_measure(arguments.output, model, preprocessing, arguments.run, network, recipe, source)


if __name__ == "__main__":
    main()
