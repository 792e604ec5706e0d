"""Looking at any functional Keras model: what it costs, and what each of its layers sees."""

from keras_cnns._lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "Account": "accounting",
        "ReceptiveField": "fields",
        "account": "accounting",
        "receptive_field": "fields",
        "receptive_fields": "fields",
    },
)
