"""The upsampler and the last convolution in closed form: ridge regression of the HR pixels on the body's features."""

from collections.abc import Iterable

import keras
import numpy as np
from numpy.typing import NDArray

from ..image_ops import channel_mean

_WINDOW = 3  # of the upsampling convolution
FIT_BATCHES = 8  # of 16 patches each: 128 of 48x48 give 500 equations for each of a baseline's unknowns


def fit_tail(model, images: Iterable[tuple[NDArray, NDArray]], scale: int | None = None, ridge: float = 1e-5) -> float:
    """Sets the upsampler and the last convolution of a scale to the linear map that fits the images best.

    Everything after the body is linear, so its best weights for a body that is given are those of a least-squares
    problem: each of the `scale**2` HR pixels that lie in an LR pixel is regressed on the 3x3 window of features around
    it, `(X^T X + r I) W = X^T Y`. The solution goes into the first channels of the upsampling convolutions, and the
    last convolution passes these on. The upsampler's other channels stay as they are, and the last convolution does
    not see them until it is trained.

    A network that takes its body from another scale, or from a network without an upsampler, then starts its training
    from images and not from noise.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one. Of an `MDSR`, the last convolution that all scales share passes
            on the same channels for each of them.
        images: Pairs (lr, hr) of arrays `(height, width, channels)` in 0..255, `hr` `scale` times as large. A few
            dozen crops of some 64 LR pixels are enough; at most one pair is held at a time.
        scale: Integer, the scale to fit. Defaults to the model's only one.
        ridge: Float, `r` as a part of the mean of the diagonal of `X^T X`.

    Returns:
        The root of the mean squared error that is left on `images`, in gray levels of 0..255.

    Raises:
        ValueError: If the model has several scales and none is given, `images` is empty or holds a pair whose sizes do
            not fit, or the model has too few filters to pass on the pixels of all stages.
    """
    scale = _check_scale(model, scale)
    upsampler, tail, skip = _layers_of(model, scale)
    channels = tail.filters
    needed = channels * (scale // upsampler.stages[0]) ** 2
    if upsampler.filters < needed:
        raise ValueError(
            f"`model` must have at least {needed} filters for a closed-form tail at x{scale}. "
            f"Received: {upsampler.filters}. Train the tail instead."
        )
    features = keras.Model(model.input, skip.output)
    mean = np.asarray(channel_mean(channels) if model.mean is None else model.mean, np.float64)
    gram: NDArray | float = 0.0
    moment: NDArray | float = 0.0
    energy, count = 0.0, 0
    for lr, hr in images:
        windows = _windows(features, lr)
        targets = _targets(lr, hr, scale, mean)
        gram, moment = gram + windows.T @ windows, moment + windows.T @ targets
        energy, count = energy + float((targets**2).sum()), count + targets.size
    if not count:
        raise ValueError("`images` must hold at least one pair (lr, hr). Received: none.")
    gram = np.asarray(gram)
    penalty = ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    penalty[-1, -1] = 0  # not of the bias
    solution = np.linalg.solve(gram + penalty, moment)
    kernel = solution[:-1].reshape(_WINDOW, _WINDOW, upsampler.filters, scale, scale, channels)
    _set(upsampler, tail, kernel, solution[-1].reshape(scale, scale, channels))
    left = energy - 2 * float((solution * moment).sum()) + float((solution * (gram @ solution)).sum())
    return float(np.sqrt(max(left, 0.0) / count))


def _check_scale(model, scale):
    if scale is None and len(model.scales) == 1:
        return model.scales[0]
    if scale not in model.scales:
        raise ValueError(f"`scale` must be one of the model's scales, {model.scales}. Received: scale={scale!r}.")
    return scale


def _layers_of(model, scale):
    names = {layer.name for layer in model.layers}

    def layer(name):
        return model.get_layer(f"{name}_x{scale}" if f"{name}_x{scale}" in names else name)

    return layer("upsample"), layer("tail"), layer("skip")


def _windows(features, lr):
    """The 3x3 windows of the features that lie wholly inside the image, and a 1 for the bias: (pixels, 9 f + 1)."""
    x = keras.ops.convert_to_numpy(features(np.asarray(lr, np.float32)[None]))[0].astype(np.float64)
    view = np.lib.stride_tricks.sliding_window_view(x, (_WINDOW, _WINDOW), axis=(0, 1))  # (h-2, w-2, f, 3, 3)
    rows = view.transpose(0, 1, 3, 4, 2).reshape(-1, _WINDOW**2 * x.shape[-1])
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


def _targets(lr, hr, scale, mean):
    """The HR pixels of each LR pixel as `depth_to_space` counts them, the mean taken off: (pixels, scale^2 c)."""
    height, width = np.shape(lr)[:2]
    if np.shape(hr)[:2] != (scale * height, scale * width):
        raise ValueError(f"`hr` must be {scale} times `lr`. Received: lr {np.shape(lr)}, hr {np.shape(hr)}.")
    blocks = (np.asarray(hr, np.float64) - mean).reshape(height, scale, width, scale, len(mean))
    edge = _WINDOW // 2
    inner = blocks.transpose(0, 2, 1, 3, 4)[edge:-edge, edge:-edge]
    return inner.reshape(inner.shape[0] * inner.shape[1], -1)


def _set(upsampler, tail, kernel, bias):
    """Writes the fitted map: all of it into the first stage, the others and the tail pass its channels on."""
    channels = bias.shape[-1]
    scale, filters = upsampler.scale, upsampler.filters
    first = upsampler.stages[0]
    rest = scale // first
    # An HR row is (row of the first stage, row of the later ones); the later ones' are channels of the first.
    kernel = kernel.reshape(_WINDOW, _WINDOW, filters, first, rest, first, rest, channels)
    kernel = kernel.transpose(0, 1, 2, 3, 5, 4, 6, 7)  # (3, 3, f, i, j, i', j', c)
    bias = bias.reshape(first, rest, first, rest, channels).transpose(0, 2, 1, 3, 4)
    _assign(
        upsampler.convs[0],
        first,
        kernel.reshape(_WINDOW, _WINDOW, filters, first, first, -1),
        bias.reshape(first, first, -1),
    )
    for conv, factor in zip(upsampler.convs[1:], upsampler.stages[1:], strict=True):
        rest //= factor
        # The channels before are (i, i', j, j', c), those after a shuffle by `factor` are (i', j', c).
        eye = np.eye(rest * rest * factor**2 * channels).reshape(
            factor, rest, factor, rest, channels, factor, rest, factor, rest, channels
        )
        passed = np.zeros((_WINDOW, _WINDOW, filters, factor, factor, rest * rest * channels))
        passed[1, 1, : eye[..., 0, 0, 0, 0, 0].size] = eye.transpose(0, 1, 2, 3, 4, 5, 7, 6, 8, 9).reshape(
            -1, factor, factor, rest * rest * channels
        )
        _assign(conv, factor, passed, np.zeros((factor, factor, rest * rest * channels)))
    kernel = np.zeros(tail.kernel.shape)
    kernel[kernel.shape[0] // 2, kernel.shape[1] // 2, :channels] = np.eye(channels)
    tail.kernel.assign(kernel)
    tail.bias.assign(np.zeros(channels))


def _assign(conv, factor, kernel, bias):
    """Sets the first channels after the shuffle that follows a convolution; the others stay."""
    own = keras.ops.convert_to_numpy(conv.kernel).copy()
    own_bias = keras.ops.convert_to_numpy(conv.bias).copy()
    whole = own.reshape(*own.shape[:3], factor, factor, -1)
    whole_bias = own_bias.reshape(factor, factor, -1)
    whole[..., : kernel.shape[-1]] = kernel
    whole_bias[..., : bias.shape[-1]] = bias
    conv.kernel.assign(whole.reshape(own.shape))
    conv.bias.assign(whole_bias.reshape(own_bias.shape))
