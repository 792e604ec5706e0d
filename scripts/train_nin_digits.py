"""Train NiN on scikit-learn's 1,797 handwritten digits, with every step written out.

    python scripts/train_nin_digits.py [nin-digits.keras]

`cnn-train NiN --data digits` takes the same steps. Nothing is downloaded. The run takes about two minutes on two CPU
cores in bfloat16. Last line: 99.72% of 360 test images (November 2026).
"""

import sys

import keras

from keras_cnns import applications, data, evaluation, recipes, saving, training


def main(output: str = "nin-digits.keras", seed: int = 0) -> None:
    """Train the network, save it, and measure it on the test split."""
    source = data.open_source("digits")
    train, validation = source.split("train").divide(0.1, seed)
    recipe = recipes.NIN_DIGITS
    preprocessing = data.fit_preprocessing(train, data.Preprocessing((32, 32), channels=1), recipe.preprocessing)

    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(training.policy_for(recipe.precision))
    network = {"input_shape": (32, 32, 1), "classes": 10, **recipe.network}
    model = applications.NiN(**network)
    training.set_biases(model, recipe)

    batches, validation_batches = training.make_datasets(model, recipe, preprocessing, train, validation, seed)
    training.compile_model(model, recipe, steps_per_epoch=len(batches))
    model.fit(
        batches,
        validation_data=validation_batches,
        epochs=recipe.epochs,
        shuffle=False,  # the pipeline shuffles
        verbose=2,
        callbacks=training.callbacks(None, recipe),
    )

    info = saving.ModelInfo(
        class_names=source.class_names,
        preprocessing=preprocessing,
        builder="NiN",
        network=network,
        recipe=recipe.to_json(),
        data=source.record(),
        versions=saving.versions(),
    )
    saving.save_model(model, output, info)
    result = evaluation.evaluate(model, source.split("test"), preprocessing, source.class_names)
    print(f"{result.top1:.2%} of {result.examples} test images")


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "nin-digits.keras")
