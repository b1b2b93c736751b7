"""A picture through a network of ours, compared with what PyTorch made of it."""

import keras
import numpy as np
from PIL import Image
from places import TORCH_CHECKPOINTS

from keras_edsr.image_ops import quantize

PICTURE = np.array(Image.open(TORCH_CHECKPOINTS / "picture.png"))


TOLERANCE = 1e-3  # of 255


def run(model, image=PICTURE):
    return keras.tree.map_structure(lambda sr: np.asarray(sr)[0], model(image[None].astype("float32")))


def assert_same_picture(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
    tie = np.abs(theirs - np.floor(theirs) - 0.5) < TOLERANCE
    np.testing.assert_array_equal(quantize(ours)[~tie], quantize(theirs)[~tie])


def perturbed(model):
    """Gives a model weights that are no one's, biases included."""
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(0, 0.1, variable.shape))
    return model
