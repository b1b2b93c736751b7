"""Trains EDSR and MDSR on one CPU and on two virtual ones, and writes what came out.

Run by test_models_trainer.py: python two_devices.py RESULT.json NAME…
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_edsr.models import EDSR, MDSR
from keras_edsr.trainer import LossSpikeGuard, TrainingLoop

GLOBAL_BATCH = 4
STEPS = 6


def batches(scales):
    random = np.random.default_rng(0)
    for step in range(STEPS):
        scale = scales[step % len(scales)]
        side = 5 + step % 2
        hr = random.integers(0, 256, (GLOBAL_BATCH, side * scale, side * scale, 3), np.uint8)
        yield hr[:, ::scale, ::scale], hr


def whole_images(scales):
    """Of different sizes and one a batch: the second device has none."""
    random = np.random.default_rng(1)
    for scale in scales:
        for side in (4, 7):
            hr = random.integers(0, 256, (1, side * scale, side * scale, 3), np.uint8)
            yield hr[:, ::scale, ::scale], hr


def dataset(pairs):
    pairs = list(pairs)
    spec = (tf.TensorSpec([None, None, None, 3], tf.uint8),) * 2
    data = tf.data.Dataset.from_generator(lambda: iter(pairs), output_signature=spec)
    return data.apply(tf.data.experimental.assert_cardinality(len(pairs)))


def train(build, strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = build()
    history = model.fit(
        dataset(batches(model.scales)),
        epochs=2,
        verbose=0,
    ).history
    return model.get_weights(), history


def train_in_loop(build, strategy):
    """As `keras-edsr train` does, with a guard that skips a step."""
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = build()
        loop = TrainingLoop(model, LossSpikeGuard(1.01))
    losses = []
    loop.run(dataset(batches(model.scales)), lambda: losses.append(loop.results()["loss"]))
    return model.get_weights(), {"loss": losses}


def clipped():
    """Its gradients are clipped."""
    model = EDSR(2, 1, 4)
    model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=1.0), "mae")
    return model


def compare(build, one, two, train):
    weights, histories = zip(train(build, one), train(build, two), strict=True)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(*weights, strict=True))
    return {
        "one": {"history": histories[0]},
        "two": {"history": histories[1]},
        "weight_difference": difference,
    }


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    # One of each for all models: a second MirroredStrategy reuses the numbers of the first one's
    # collectives, and TensorFlow aborts.
    strategies = (
        tf.distribute.get_strategy(),
        tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]),
    )
    models = {
        "edsr": lambda: EDSR(2, 1, 4),
        "mdsr": lambda: MDSR((2, 3), 1, 4),
        "mdsr in the loop": lambda: MDSR((2, 3), 1, 4),
        "mixed_float16": lambda: EDSR(2, 1, 4, dtype="mixed_float16"),
        "clipped": clipped,
    }
    in_loop = ("mdsr in the loop", "mixed_float16", "clipped")
    results = {
        name: compare(models[name], *strategies, train_in_loop if name in in_loop else train) for name in sys.argv[2:]
    }
    Path(sys.argv[1]).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
