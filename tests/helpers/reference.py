"""The networks written in NumPy from their formulas, for the tests to compare with."""

import numpy as np


def images(*shape, seed=0):
    """Random pixels in 0..255, float32."""
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)


def conv2d(image, kernel, bias):
    """A zero-padded convolution: (h, w, i), (k, k, i, o), (o,) to (h, w, o)."""
    radius = kernel.shape[0] // 2
    padded = np.pad(image, [(radius, radius), (radius, radius), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(0, 1))
    return np.einsum("hwikl,klio->hwo", windows, kernel, optimize=True) + bias


def depth_to_space(image, factor):
    """TensorFlow's formula: out[h*r+i, w*r+j, c] = in[h, w, (i*r+j)*C + c]."""
    height, width, channels = image.shape
    filters = channels // factor**2
    blocks = image.reshape(height, width, factor, factor, filters).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(height * factor, width * factor, filters)


def pixel_shuffle(image, factor):
    """PyTorch's formula, on (h, w, c): out[c, h*r+i, w*r+j] = in[c*r*r + i*r + j, h, w]."""
    height, width, channels = image.shape
    filters = channels // factor**2
    result = np.empty((height * factor, width * factor, filters), image.dtype)
    for c in range(filters):
        for i in range(factor):
            for j in range(factor):
                result[i::factor, j::factor, c] = image[..., c * factor**2 + i * factor + j]
    return result


def block(model, name, x):
    """`x + residual_scaling * conv(relu(conv(x)))` with the weights of a model's layer."""
    kernel_1, bias_1, kernel_2, bias_2 = _weights(model, name)
    branch = conv2d(np.maximum(conv2d(x, kernel_1, bias_1), 0), kernel_2, bias_2)
    return x + model.get_layer(name).residual_scaling * branch


def edsr(model, image, mean):
    """What an EDSR with these weights makes of one image (h, w, c): facts §1."""
    x = head = conv2d(image - np.array(mean), *_weights(model, "head"))
    for i in range(model.num_blocks):
        x = block(model, f"body_{i}", x)
    x = conv2d(x, *_weights(model, "body_conv")) + head
    x = upsample(model, "upsample", model.scale, x)
    return conv2d(x, *_weights(model, "tail")) + np.array(mean)


def mdsr(model, image, scale, mean):
    """What the branch of an MDSR with these weights makes of one image (h, w, c): facts §2."""
    x = conv2d(image - np.array(mean), *_weights(model, "head"))
    for i in range(2):
        x = block(model, f"pre_x{scale}_{i}", x)
    skip = x
    for i in range(model.num_blocks):
        x = block(model, f"body_{i}", x)
    x = conv2d(x, *_weights(model, "body_conv")) + skip
    x = upsample(model, f"upsample_x{scale}", scale, x)
    tail = "tail" if model.shared_tail else f"tail_x{scale}"
    return conv2d(x, *_weights(model, tail)) + np.array(mean)


def upsample(model, name, scale, x):
    """x3 in one stage, powers of two in stages of two."""
    weights = _weights(model, name)
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        x = depth_to_space(conv2d(x, kernel, bias), 3 if scale == 3 else 2)
    return x


def _weights(model, name):
    return [weight.numpy().astype(np.float64) for weight in model.get_layer(name).weights]


def pair(model):
    """The network of a Keras model and its weights."""
    return model.network, model.get_arrays()
