"""Writes ONNX files from the weights, layer by layer, so that they contain only the operations of EDSR and MDSR."""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .._version import __version__
from ..network import About, Add, Arrays, Convolve, Network, Shift, operations, weights
from ..network.about import KEY
from ..network.graph import COMMON, INPUT
from ..runtimes.onnx import is_installed
from .model import in_float32, network_of
from .target import whole_target
from .verify import check_export

OPSET = 13  # of 2020; nothing newer is needed, so that older programs can load it
_IR_VERSION = 7  # the one that came with that opset
# Sums in another order than TensorFlow's: 1e-4 of a gray level, which may round to the next one.
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
        ValueError: If a package is missing, the target exists or cannot be written, or what was written differs from
            the model; one line. Nothing is left then.
    """
    target = Path(path)
    if target.suffix != ".onnx":
        raise ValueError(f"Cannot write {target}: an ONNX file must end in .onnx.")
    network, arrays = network_of(model)
    if not is_installed():
        raise ValueError("Writing .onnx files, and running them again, needs onnx: pip install 'keras-edsr[onnx]'")
    with whole_target(target, overwrite) as part:
        part.write_bytes(make_onnx(network, arrays).SerializeToString())
        check_export(part, in_float32(model), tolerance=_TOLERANCE)
    return target


def make_onnx(network: Network, arrays: Arrays) -> Any:
    """Makes the `onnx.ModelProto` of a network.

    Args:
        network: The network.
        arrays: Its weights.
    """
    import onnx

    graph = _Graph(onnx)
    for scale in network.scales:
        _add_scale(graph, network, arrays, scale)
    about = About.of(network)
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


def _add_scale(graph, network, arrays, scale):
    """One scale's operations; what scales share, weights and the first results, is written once."""
    made = operations(network, scale)
    names = {INPUT: INPUT}
    for operation in made:
        name = operation.name if operation.name in COMMON else f"x{scale}/{operation.name}"
        inputs = [names[taken] for taken in operation.inputs]
        names[operation.name] = name
        if name in COMMON and scale != network.scales[0]:
            continue
        if isinstance(operation, Shift):
            offsets = np.array(operation.offsets)[:, None, None]
            graph.add(name, *inputs, graph.constant(f"{name}/mean", offsets))
        elif isinstance(operation, Convolve):
            kernel, bias = weights(operation, arrays)
            names[operation.name] = graph.convolution(
                name, *inputs, operation.path, kernel.transpose(3, 2, 0, 1), bias, relu=operation.relu
            )
        elif isinstance(operation, Add):
            graph.add(name, *inputs)
        else:
            graph.depth_to_space(name, *inputs, operation.factor)
    graph.output(names[made[-1].name], f"x{scale}")


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

    def convolution(self, name, x, path, kernel, bias, *, relu=False):
        """Zero-padded to keep the size; `path` names the weights, which may be used more than once."""
        constants = [self.constant(f"{path}/kernel", kernel), self.constant(f"{path}/bias", bias)]
        height, width = kernel.shape[2:]
        pads = [height // 2, width // 2] * 2
        x = self._append("Conv", name, [x, *constants], kernel_shape=[height, width], pads=pads)
        return self._append("Relu", f"{name}/relu", [x]) if relu else x

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
