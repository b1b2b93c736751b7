"""Reads the inputs, the outputs and the kernel shapes from exported networks.

Nothing is run. Packages for single formats are imported only when needed; the error for a missing one names it.
"""

import contextlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files import explaining, reason
from ..network.about import KEY, About
from ..network.graph import MEAN
from .recognize import Kernel


@dataclass
class Contents:
    """What a file contains.

    Attributes:
        kernels: Kernel shapes of each network's convolutions, a list for each; a shared kernel counts once.
        inputs: Dictionaries of `name`, `shape`, `dtype`, and `signature` where there are several.
        outputs: As `inputs`.
        parameters: Number of weights, if the format has it.
        about: What this package's export wrote about the network; the kernels need not equal the model's then.
    """

    kernels: list[list[Kernel]] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    parameters: int | None = None
    about: About | None = None


# === SavedModel ===


def read_saved_model(folder: Path) -> Contents:
    """Reads a SavedModel's signatures and the shapes of its variables.

    Raises:
        ValueError: If it is damaged. The message has one line.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    data = _bytes(folder / "saved_model.pb")
    with _reading(folder, "SavedModel"):
        graph = saved_model_pb2.SavedModel.FromString(data).meta_graphs[0]
        contents = Contents()
        for name, signature in sorted(graph.signature_def.items()):
            if not name.startswith("__"):  # those signatures belong to TensorFlow's loader
                contents.inputs += [_of_tensor_info(tf, name, *item) for item in sorted(signature.inputs.items())]
                contents.outputs += [_of_tensor_info(tf, name, *item) for item in sorted(signature.outputs.items())]
        nodes = graph.object_graph_def.nodes
        variables = [node.variable for node in nodes if node.WhichOneof("kind") == "variable"]
    # Untrainable variables are an optimizer's state. Keras' ExportArchive lists each variable twice.
    shapes = {v.name: tuple(dim.size for dim in v.shape.dim) for v in variables if v.trainable}
    contents.kernels = [[shape for shape in shapes.values() if len(shape) == 4]]
    contents.parameters = sum(map(math.prod, shapes.values()))
    return contents


def _of_tensor_info(tf, signature, name, info):
    shape = None if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim]
    return _tensor(name, shape, tf.dtypes.as_dtype(info.dtype).name, signature)


# === TensorFlow Lite ===


def read_tflite(path: Path) -> Contents:
    """Reads the subgraphs of a .tflite file, or of each signature if it has signatures.

    Raises:
        ValueError: If it is damaged. The message has one line.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    data = _bytes(path)
    with _reading(path, "TensorFlow Lite model"):
        if data[4:8] != b"TFL3":
            raise ValueError("it does not begin with the signature of one")
        model = schema.Model.GetRootAs(data, 0)
        types = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
        codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
        convolutions = [
            max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) == schema.BuiltinOperator.CONV_2D for code in codes
        ]
        signatures = [model.SignatureDefs(i) for i in range(model.SignatureDefsLength())]
        contents = Contents()
        for index in range(model.SubgraphsLength()):
            graph = model.Subgraphs(index)
            own = [signature for signature in signatures if signature.SubgraphIndex() == index]
            for signature in own or [None]:
                contents.inputs += _ends_of_tflite(graph, signature, "Inputs", types)
                contents.outputs += _ends_of_tflite(graph, signature, "Outputs", types)
            operators = [graph.Operators(i) for i in range(graph.OperatorsLength())]
            filters = dict.fromkeys(op.Inputs(1) for op in operators if convolutions[op.OpcodeIndex()])
            shapes = [tuple(map(int, graph.Tensors(i).ShapeAsNumpy())) for i in filters]
            contents.kernels.append([(height, width, ins, out) for out, height, width, ins in shapes])
        entries = [model.Metadata(i) for i in range(model.MetadataLength())]
        texts = [model.Buffers(e.Buffer()).DataAsNumpy().tobytes() for e in entries if e.Name() == KEY.encode()]
    contents.about = About.from_json(texts[0], path, "a TensorFlow Lite model") if texts else None
    return contents


def _ends_of_tflite(graph, signature, ends, types):
    """Returns the inputs or the outputs of a subgraph, with the names of its signature if it has one."""
    if signature is None:
        return [_of_tflite(graph.Tensors(i), types) for i in getattr(graph, f"{ends}AsNumpy")()]
    maps = [getattr(signature, ends)(i) for i in range(getattr(signature, f"{ends}Length")())]
    key = signature.SignatureKey().decode()
    return [_of_tflite(graph.Tensors(m.TensorIndex()), types, m.Name().decode(), key) for m in maps]


def _of_tflite(tensor, types, name=None, signature=None):
    # Sizes that are not fixed are 1 in the shape, and -1 in the shape's signature.
    dynamic = tensor.ShapeSignatureLength()
    shape = tensor.ShapeSignatureAsNumpy() if dynamic else tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
    return _tensor(name or tensor.Name().decode(), shape, types[tensor.Type()], signature)


# === ONNX ===


def read_onnx(path: Path) -> Contents:
    """Reads the graph of an .onnx file.

    Raises:
        ValueError: If it is damaged, or the package onnx is not installed. The message has one line.
    """
    try:
        import onnx
    except ImportError:
        raise ValueError("Reading .onnx files needs onnx: pip install 'keras-edsr[onnx]'") from None
    with _reading(path, "ONNX model"):
        model = onnx.load_model_from_string(_bytes(path))
        graph = model.graph
        weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        if not graph.node:
            raise ValueError("it has no operators")
        filters = dict.fromkeys(node.input[1] for node in graph.node if node.op_type == "Conv")
        shapes = [weights[name] for name in filters if len(weights.get(name, ())) == 4]
        kernels = [(height, width, ins, out) for out, ins, height, width in shapes]
        contents = Contents(
            [kernels],
            [_of_onnx(onnx, value) for value in graph.input if value.name not in weights],
            [_of_onnx(onnx, value) for value in graph.output],
            sum(map(math.prod, weights.values())),
        )
        texts = [entry.value for entry in model.metadata_props if entry.key == KEY]
    contents.about = About.from_json(texts[0], path, "an ONNX model") if texts else None
    return contents


def _of_onnx(onnx, value):
    tensor = value.type.tensor_type
    shape = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    return _tensor(value.name, shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name)


# === ncnn ===


def read_ncnn(path: Path) -> Contents:
    """Reads the graph of ncnn's .param file in the text format.

    Raises:
        ValueError: If it is damaged or in the binary format. The message has one line.
    """
    data = _bytes(path)
    with _reading(path, "graph of ncnn"):
        lines = data.decode("ascii").split("\n")
        if lines[0].strip() != "7767517":
            raise ValueError("it does not begin with the signature of one")
        kernels, made, taken = [], {}, set()
        for line in filter(None, map(str.strip, lines[2:])):
            kind, name, num_inputs, num_outputs, *rest = line.split()
            ins, outs = int(num_inputs), int(num_inputs) + int(num_outputs)
            taken.update(rest[:ins])
            made.update(dict.fromkeys(rest[ins:outs], kind))
            if kind == "Convolution" and name != MEAN:  # that one only shifts the colors
                kernels.append(_of_ncnn(dict(entry.split("=", 1) for entry in rest[outs:])))
    return Contents(
        [kernels],
        [_tensor(name, None, "float32") for name, kind in made.items() if kind == "Input"],
        [_tensor(name, None, "float32") for name in made if name not in taken],
    )


def read_ncnn_folder(folder: Path) -> Contents:
    """Reads every .param of a folder as one model, exported scale by scale; the file's name serves as the signature.

    Raises:
        ValueError: If `read_ncnn` raises it.
    """
    whole = Contents()
    for path in sorted(folder.glob("*.param")):
        part = read_ncnn(path)
        whole.kernels += part.kernels
        whole.inputs += [{"signature": path.stem, **tensor} for tensor in part.inputs]
        whole.outputs += [{"signature": path.stem, **tensor} for tensor in part.outputs]
    return whole


def _of_ncnn(settings: dict[str, str]) -> Kernel:
    out, width, weights = (int(settings[key]) for key in ("0", "1", "6"))
    height = int(settings.get("11", width))
    return height, width, weights // (height * width * out), out


# === Shared by the formats ===


def _tensor(name, shape, dtype, signature=None):
    """Describes a tensor; a size that is not fixed is None, and so is an unknown shape."""
    if shape is not None:
        shape = [None if size is None or size < 0 else int(size) for size in shape]
    about = {"name": name, "shape": shape, "dtype": dtype}
    return about if signature is None else {"signature": signature, **about}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {reason(error)}.") from error


def _reading(path: Path, kind: str) -> contextlib.AbstractContextManager[None]:
    """Turns every error of a parser into one ValueError that names the file."""
    return explaining(f"{path} is not a valid {kind}")
