"""An ONNX file: made from the weights, layer by layer, so that nothing is in it that EDSR and MDSR don't have."""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .._version import __version__
from ..runtimes.about import KEY, About, about_model
from ..runtimes.onnx import is_installed
from .target import whole_target
from .verify import check_export
from .weights import in_float32

OPSET = 13  # of 2020; nothing newer is needed, so that older programs can load it
_IR_VERSION = 7  # the one that came with that opset
# Sums in another order than TensorFlow's: 1e-4 of a grey level, which may round to the next one.
_TOLERANCE = 1


def export_onnx(model: keras.Model, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Writes a model as an ONNX file, runs it again in a new process by onnxruntime, and compares.

    The input `lr` is float32 `(batch, channels, height, width)`, RGB in 0..255, of any batch and size. The output of
    each scale, `x2`, …, is `(batch, channels, scale * height, scale * width)`, neither clipped nor rounded. Opset 13.

    An MDSR is one file, in which its scales share the body's weights. `upscale` computes the scale that it needs;
    other programs compute all outputs: for those export `model.branch(scale)`.

    `metadata_props` has the scales and the halo, by which `upscale` knows the tiles it needs.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one.
        path: Path of the file, ending in .onnx.
        overwrite: Whether a file that is already there may be replaced.

    Returns:
        The path.

    Raises:
        ValueError: A package is missing, the target exists or cannot be written, or what was written differs from the
            model; one line. Nothing is left then.
    """
    target = Path(path)
    if target.suffix != ".onnx":
        raise ValueError(f"Cannot write {target}: an ONNX file must end in .onnx.")
    about = about_model(model)
    if not is_installed():
        raise ValueError("Writing .onnx files, and running them again, needs onnx: pip install 'keras-edsr[onnx]'")
    with whole_target(target, overwrite) as part:
        model = in_float32(model)
        part.write_bytes(make_onnx(model, about).SerializeToString())
        check_export(part, model, tolerance=_TOLERANCE)
    return target


def make_onnx(model: keras.Model, about: About) -> Any:
    """Makes the `onnx.ModelProto` of a model.

    Args:
        model: An `EDSR`, an `MDSR` or a branch, of float32.
        about: What `about_model` says of it.
    """
    import onnx

    graph = _Graph(onnx)
    mean = np.array(model.get_layer("sub_mean").mean)
    x = graph.add("sub_mean", "lr", graph.constant("sub_mean/mean", -mean[:, None, None]))  # padding comes after it
    features = graph.convolution("head", x, *_weights(model.get_layer("head")))
    for scale in about.scales:
        _add_scale(graph, model, about, scale, features, mean)
    made = onnx.helper.make_model(
        graph.finish(about),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="keras_edsr",
        producer_version=__version__,
    )
    onnx.helper.set_model_props(made, {KEY: about.to_json()})
    onnx.checker.check_model(made, full_check=True)
    return made


def _add_scale(graph, model, about, scale, x, mean):
    """One scale's branch from the head's features on; the weights that scales share are written once."""
    names = {layer.name for layer in model.layers}

    def own(name):
        """An MDSR has some of its layers once per scale, under names that end in it."""
        return f"{name}_x{scale}" if f"{name}_x{scale}" in names else name

    at = f"x{scale}/"
    for i in range(2 if about.family == "mdsr" else 0):
        x = _residual_block(graph, at, f"pre_x{scale}_{i}", x, model)
    skip = x
    for i in range(about.num_blocks):
        x = _residual_block(graph, at, f"body_{i}", x, model)
    x = graph.convolution("body_conv", x, *_weights(model.get_layer("body_conv")), at=at)
    x = graph.add(f"{at}skip", x, skip)
    name = own("upsample")
    upsample = model.get_layer(name)
    for i, (conv, factor) in enumerate(zip(upsample.convs, upsample.stages, strict=True), start=1):
        x = graph.convolution(f"{name}/conv_{i}", x, *_weights(conv), at=at)
        x = graph.depth_to_space(f"{at}shuffle_{i}", x, factor)
    name = own("tail")
    kernel, bias = _weights(model.get_layer(name))
    x = graph.convolution(name, x, kernel, bias + mean, at=at)  # nothing is padded after it: the bias may have the mean
    graph.output(x, f"x{scale}")


def _residual_block(graph, at, name, x, model):
    block = model.get_layer(name)
    y = graph.convolution(f"{name}/conv_1", x, *_weights(block.conv_1), at=at, relu=True)
    kernel, bias = (array * block.residual_scaling for array in _weights(block.conv_2))
    y = graph.convolution(f"{name}/conv_2", y, kernel, bias, at=at)
    return graph.add(f"{at}{name}", x, y)


def _weights(conv):
    """Kernel (out, in, height, width) and bias, in double precision until they are written."""
    kernel, bias = (np.asarray(weight).astype(np.float64) for weight in conv.weights)
    return kernel.transpose(3, 2, 0, 1), bias


class _Graph:
    """Nodes in the order in which they run; a method for each kind appends one and returns the name of its result."""

    def __init__(self, onnx):
        self._onnx = onnx
        self._nodes: list = []
        self._constants: dict[str, Any] = {}
        self._outputs: list[str] = []

    def constant(self, name, array):
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(np.asarray(array, np.float32), name)
        return name

    def convolution(self, name, x, kernel, bias, *, at="", relu=False):
        """Zero-padded to keep the size; `at` sets apart the results of weights that are used more than once."""
        weights = [self.constant(f"{name}/kernel", kernel), self.constant(f"{name}/bias", bias)]
        height, width = kernel.shape[2:]
        pads = [height // 2, width // 2] * 2
        x = self._append("Conv", f"{at}{name}", [x, *weights], kernel_shape=[height, width], pads=pads)
        return self._append("Relu", f"{at}{name}/relu", [x]) if relu else x

    def add(self, name, x, y):
        return self._append("Add", name, [x, y])

    def depth_to_space(self, name, x, factor):
        return self._append("DepthToSpace", name, [x], blocksize=factor, mode="DCR")  # TensorFlow's order

    def output(self, x, name):
        """Gives a result the name under which it is asked for."""
        node = next(node for node in self._nodes if node.output[0] == x)
        node.output[0] = name
        self._outputs.append(name)

    def finish(self, about):
        sizes = [self._tensor("lr", about.channels, "height", "width")]
        outputs = [self._tensor(name, about.channels, f"{name}_height", f"{name}_width") for name in self._outputs]
        return self._onnx.helper.make_graph(
            self._nodes, f"{about.family}", sizes, outputs, list(self._constants.values())
        )

    def _append(self, kind, name, inputs, **attributes):
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def _tensor(self, name, channels, height, width):
        shape = ["batch", channels, height, width]
        return self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, shape)
