"""Writes ONNX files from the weights, layer by layer, so that they contain only the operations of EDSR and MDSR."""

import os
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np

from .._version import __version__
from ..image_ops import PEAK
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
_FLOAT16_TOLERANCE = 2  # as of TensorFlow Lite's

Range = Literal["0-255", "0-1"]


def export_onnx(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    range: Range = "0-255",
    float16: bool = False,
    overwrite: bool = False,
) -> Path:
    """Writes a model as an ONNX file, runs it again in a new process by onnxruntime, and compares.

    The input `lr` is float32 `(batch, channels, height, width)`, RGB in 0..255, of any batch and size. The output of
    each scale, `x2`, …, is `(batch, channels, scale * height, scale * width)`, neither clipped nor rounded. Opset 13.

    With `range="0-1"` the file takes and gives 0..1, as vs-mlrt, chaiNNer and most other programs do. Its input is
    named `input`, and the output of a single scale `output`.

    An MDSR is one file, in which its scales share the body's weights. `upscale` computes the scale that it needs;
    other programs compute all outputs: for those export `model.branch(scale)`.

    `metadata_props` has the scales and the halo, by which `upscale` knows the tiles it needs.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one.
        path: Path of the file, ending in .onnx.
        range: "0-255" or "0-1", of the pixels that the file takes and gives.
        float16: Whether the kernels are stored in half precision, in half the space. The file still takes, computes and
            gives float32.
        overwrite: Whether a file that is already there may be replaced.

    Returns:
        The path.

    Raises:
        ValueError: If `range` is not valid, a package is missing, the target exists or cannot be written, or what was
            written differs from the model; one line. Nothing is left then.
    """
    target = Path(path)
    if target.suffix != ".onnx":
        raise ValueError(f"Cannot write {target}: an ONNX file must end in .onnx.")
    if range not in get_args(Range):
        raise ValueError(f"`range` must be one of {', '.join(get_args(Range))}. Received: range={range!r}.")
    network, arrays = network_of(model)
    if not is_installed():
        raise ValueError("Writing .onnx files, and running them again, needs onnx: pip install 'keras-edsr[onnx]'")
    with whole_target(target, overwrite) as part:
        part.write_bytes(make_onnx(network, arrays, range, float16).SerializeToString())
        check_export(part, in_float32(model), tolerance=_FLOAT16_TOLERANCE if float16 else _TOLERANCE)
    return target


def make_onnx(network: Network, arrays: Arrays, range: Range = "0-255", float16: bool = False) -> Any:
    """Makes the `onnx.ModelProto` of a network.

    Args:
        network: The network.
        arrays: Its weights.
        range: As `export_onnx` takes.
        float16: As `export_onnx` takes.
    """
    import onnx

    of_1 = range == "0-1"
    graph = _Graph(onnx, "input" if of_1 else INPUT, float16)
    for scale in network.scales:
        output = "output" if of_1 and len(network.scales) == 1 else f"x{scale}"
        _add_scale(graph, network, arrays, scale, output, PEAK if of_1 else 1)
    about = About.of(network)._replace(value_range=1 if of_1 else int(PEAK))
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


def _add_scale(graph, network, arrays, scale, output, divisor):
    """One scale's operations; what scales share, weights and the first results, is written once.

    Of pixels that are divided by `divisor` the results are, too, if the means and the biases are: convolutions and ReLU
    commute with a positive factor.
    """
    made = operations(network, scale)
    names = {INPUT: graph.input}
    for operation in made:
        name = operation.name if operation.name in COMMON else f"x{scale}/{operation.name}"
        inputs = [names[taken] for taken in operation.inputs]
        names[operation.name] = name
        if name in COMMON and scale != network.scales[0]:
            continue
        if isinstance(operation, Shift):
            offsets = np.array(operation.offsets)[:, None, None] / divisor
            graph.add(name, *inputs, graph.constant(f"{name}/mean", offsets))
        elif isinstance(operation, Convolve):
            kernel, bias = weights(operation, arrays)
            names[operation.name] = graph.convolution(
                name, *inputs, operation.path, kernel.transpose(3, 2, 0, 1), bias / divisor, relu=operation.relu
            )
        elif isinstance(operation, Add):
            graph.add(name, *inputs)
        else:
            graph.depth_to_space(name, *inputs, operation.factor)
    graph.output(names[made[-1].name], output)


class _Graph:
    """Nodes in the order in which they run; a method for each kind appends one and returns the name of its result."""

    def __init__(self, onnx, input_name, float16):
        self._onnx = onnx
        self.input = input_name
        self._float16 = float16
        self._nodes: list = []
        self._constants: dict[str, Any] = {}
        self._outputs: list[str] = []

    def constant(self, name, array, dtype=np.float32):
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(np.asarray(array, dtype), name)
        return name

    def kernel(self, name, array):
        """As `constant`, but of half precision if the file has that; a node makes it float32 again."""
        stored = f"{name}/float16"
        if self._float16 and stored not in self._constants:
            self._append("Cast", name, [self.constant(stored, array, np.float16)], to=self._onnx.TensorProto.FLOAT)
        return name if self._float16 else self.constant(name, array)

    def convolution(self, name, x, path, kernel, bias, *, relu=False):
        """Zero-padded to keep the size; `path` names the weights, which may be used more than once."""
        constants = [self.kernel(f"{path}/kernel", kernel), self.constant(f"{path}/bias", bias)]
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
        sizes = [self._tensor(self.input, about.channels, "height", "width")]
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
