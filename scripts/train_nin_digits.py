"""NiN on scikit-learn's 1,797 handwritten digits: what `cnn-train NiN --data digits` does, by hand.

    python scripts/train_nin_digits.py

Writes nin-digits.keras. No download.
"""

import keras

from keras_cnns import applications, data, evaluation, recipes, saving, training


def main(seed=0):
    """Train, measure on the test split, save."""
    source = data.open_source("digits")
    train, validation = source.split("train").divide(0.1, seed)
    recipe = recipes.NIN_DIGITS
    preprocessing = data.fit_preprocessing(train, data.Preprocessing((32, 32), channels=1))

    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(training.policy_for(recipe.precision))
    model = applications.NiN(input_shape=(32, 32, 1), classes=10, **recipe.network)

    batches = data.make_dataset(
        train, preprocessing, recipe.batch_size, shuffle=True, augmentation=recipe.augmentation, seed=seed
    )
    training.compile_model(model, recipe, steps_per_epoch=len(batches))
    model.fit(
        batches,
        validation_data=data.make_dataset(validation, preprocessing, 256),
        epochs=recipe.epochs,
        shuffle=False,  # the pipeline does
        verbose=2,
    )

    result = evaluation.evaluate(model, source.split("test"), preprocessing, source.class_names)
    info = saving.ModelInfo(class_names=source.class_names, preprocessing=preprocessing, data={"source": "digits"})
    saving.save_model(model, "nin-digits.keras", info, overwrite=True)
    print(f"{result.top1:.2%} of {result.examples} test pictures")


if __name__ == "__main__":
    main()
