"""The exponential moving average of a model's weights."""

import keras
from keras import ops


class WeightAverage:
    """Keeps `average = decay * average + (1 - decay) * weight` of the weights that a step has changed.

    Keras' optimizers have an average of their own, which moves the averages of all variables at every step; in MDSR
    it would pull along the scales that the batch did not train.

    In the n-th step the decay is `min(decay, (1 + n) / (10 + n))`, so that the random first weights are forgotten soon.

    Args:
        model: A built Keras model.
        decay: Float in [0, 1).

    Attributes:
        averages: Variables, one for each of `model.trainable_variables`, in their order.
        variables: The averages and the number of steps: what a checkpoint must hold to continue exactly.
    """

    def __init__(self, model, decay):
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` must be in [0, 1). Received: decay={decay!r}.")
        self.decay = decay
        self.averages = [
            keras.Variable(ops.convert_to_numpy(weight), trainable=False, dtype=weight.dtype)
            for weight in model.trainable_variables
        ]
        self._steps = keras.Variable(0.0, trainable=False, dtype="float32", name="steps")
        self.variables = [*self.averages, self._steps]
        self._average_of = {
            id(weight): average for weight, average in zip(model.trainable_variables, self.averages, strict=True)
        }

    def update(self, weights):
        """Moves the averages of `weights`, some of the model's variables, after a step."""
        steps = self._steps.value + 1
        self._steps.assign(steps)
        decay = ops.minimum(self.decay, (1 + steps) / (10 + steps))
        for weight in weights:
            average = self._average_of[id(weight)]
            average.assign(average.value + (1 - decay) * (weight.value - average.value))
