"""Batches for a `TrainingLoop`, whatever the backend."""

import keras


def dataset(batches):
    """What the loop takes: with TensorFlow a dataset, else the batches themselves."""
    batches = list(batches)
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    spec = tuple(tf.TensorSpec([None, None, None, part.shape[-1]], part.dtype) for part in batches[0])
    data = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)
    return data.apply(tf.data.experimental.assert_cardinality(len(batches)))
