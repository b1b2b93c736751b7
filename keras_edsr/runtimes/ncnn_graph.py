"""A network as ncnn has it: layers in order, written to and read from a .param (text) and a .bin (weights).

Only the kinds of layer that EDSR and MDSR need. ncnn itself is not imported.
Format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

END = -233  # ncnn's word for "to the end"
NO_SGEMM = 1 << 5  # in a layer's feature mask, parameter 31

_MAGIC = "7767517"
_FLOAT32_TAG = b"\0\0\0\0"  # before a convolution's kernel: what follows is float32


class Layer(NamedTuple):
    """One line of a .param, and its part of the .bin.

    Attributes:
        kind: String, ncnn's name of the operation.
        name: String.
        inputs: Names of the blobs it takes.
        outputs: Names of the blobs it makes.
        settings: Values by ncnn's number of the parameter.
        weights: Arrays: kernel `(out, in, height, width)` and bias of a Convolution, factors and offsets of a Scale.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: dict[int, Any]
    weights: tuple[np.ndarray, ...] = ()


@dataclass
class Graph:
    """Layers in the order in which they run; a method for each kind appends one and returns the blob it makes."""

    layers: list[Layer] = field(default_factory=list)

    def input(self, name: str) -> str:
        """The blob that is fed."""
        return self._append("Input", name, (), {})

    def convolution(
        self, name: str, x: str, kernel: np.ndarray, bias: np.ndarray, *, relu: bool = False, pad: bool = True
    ) -> str:
        """A convolution, zero-padded to keep the size; `kernel` is `(out, in, height, width)`."""
        filters, _, height, width = kernel.shape
        settings = {0: filters, 1: width, 11: height, 5: 1, 6: kernel.size}
        if pad:
            settings |= {4: width // 2, 14: height // 2}
        if relu:
            settings[9] = 1
        return self._append("Convolution", name, (x,), settings, (kernel, bias))

    def shift(self, name: str, x: str, offsets: np.ndarray) -> str:
        """Adds a constant to each channel.

        A convolution does it, whose kernel is 1 from each channel to itself: ncnn's layer Scale is left out where
        Real-ESRGAN-ncnn-vulkan, Upscayl and video2x build ncnn.
        """
        return self.convolution(name, x, np.eye(len(offsets))[:, :, None, None], offsets)

    def split(self, name: str, x: str, count: int = 2) -> tuple[str, ...]:
        """Several names for one blob: ncnn wants every blob taken once."""
        self.layers.append(Layer("Split", name, (x,), tuple(f"{name}_{i}" for i in range(count)), {}))
        return self.layers[-1].outputs

    def add(self, name: str, x: str, y: str) -> str:
        """The sum of two blobs."""
        return self._append("BinaryOp", name, (x, y), {0: 0})

    def pixel_shuffle(self, name: str, x: str, factor: int) -> str:
        """Channels, color first, to `factor` times the height and width."""
        return self._append("PixelShuffle", name, (x,), {0: factor})

    def pad(self, name: str, x: str, before: int, after: int) -> str:
        """Zeros on the top and the left, and on the bottom and the right."""
        return self._append("Padding", name, (x,), {0: before, 1: after, 2: before, 3: after})

    def slice(self, name: str, x: str, rows: tuple[int, int], columns: tuple[int, int]) -> str:
        """From a row and a column to another; negative ones count from the end, `END` is the end."""
        starts, ends = zip(rows, columns, strict=True)
        axes = {-23309: starts, -23310: ends, -23311: (1, 2)}
        return self._append("Crop", name, (x,), {key: f"2,{a},{b}" for key, (a, b) in axes.items()})

    def first_channels(self, name: str, x: str, count: int) -> str:
        """So many channels of a blob, from the first on."""
        return self._append("Crop", name, (x,), {0: 0, 1: 0, 2: 0, 3: END, 4: END, 5: count})

    def concat(self, name: str, blobs: tuple[str, ...]) -> str:
        """The channels of one blob after those of the other."""
        return self._append("Concat", name, blobs, {0: 0})

    def _append(self, kind, name, inputs, settings, weights=()):
        weights = tuple(np.asarray(array, np.float32) for array in weights)
        self.layers.append(Layer(kind, name, inputs, (name,), settings, weights))
        return name

    def param(self) -> bytes:
        """The text of the .param."""
        blobs = sum(len(layer.outputs) for layer in self.layers)
        lines = [_MAGIC, f"{len(self.layers)} {blobs}"]
        for kind, name, inputs, outputs, settings, _ in self.layers:
            numbers = [f"{key}={value}" for key, value in settings.items()]
            fields = [f"{kind:<16}", f"{name:<16}", str(len(inputs)), str(len(outputs))]
            lines.append(" ".join([*fields, *inputs, *outputs, *numbers]))
        return "\n".join([*lines, ""]).encode()

    def weights(self) -> bytes:
        """The bytes of the .bin."""
        parts = []
        for layer in self.layers:
            if layer.kind == "Convolution":
                parts.append(_FLOAT32_TAG)
            parts += [array.astype("<f4").tobytes() for array in layer.weights]
        return b"".join(parts)


def read_graph(param: bytes, weights: bytes) -> Graph:
    """Reads a network of EDSR or MDSR.

    Raises:
        ValueError: If it has other layers, half precision, or too few or too many weights.
    """
    try:
        magic, counts, *lines = param.decode().splitlines()
        if magic != _MAGIC or int(counts.split()[0]) != len(lines):
            raise ValueError("the .param is not ncnn's, or incomplete")
        layers, at = [], 0
        for layer in map(_read_layer, lines):
            if layer.kind == "Convolution":
                if weights[at : at + 4] != _FLOAT32_TAG:
                    raise ValueError("the .bin is not all float32, or incomplete")
                at += 4
            arrays = []
            for shape in _weight_shapes(layer):
                arrays.append(np.frombuffer(weights, "<f4", int(np.prod(shape)), at).reshape(shape))
                at += arrays[-1].nbytes
            layers.append(layer._replace(weights=tuple(arrays)))
        if at != len(weights):
            raise ValueError(f"the .bin has {len(weights)} bytes, the .param needs {at}")
    except (ValueError, IndexError, KeyError, ZeroDivisionError) as error:
        raise ValueError(f"not an EDSR or MDSR for ncnn: {error}") from None
    return Graph(layers)


def _read_layer(line):
    kind, name, num_inputs, num_outputs, *rest = line.split()
    inputs = tuple(rest[: int(num_inputs)])
    rest = rest[len(inputs) :]
    outputs = tuple(rest[: int(num_outputs)])
    pairs = (text.split("=") for text in rest[len(outputs) :])
    return Layer(kind, name, inputs, outputs, {int(key): int(value) for key, value in pairs})


def _weight_shapes(layer):
    settings = layer.settings
    if layer.kind == "Convolution":
        filters, height, width = settings[0], settings[11], settings[1]
        return [(filters, settings[6] // (filters * height * width), height, width), (filters,)]
    if layer.kind == "Scale":  # the mean, in files of older versions
        return [(settings[0],)] * 2
    if layer.kind not in ("Input", "Split", "BinaryOp", "PixelShuffle"):
        raise ValueError(f"it has a layer {layer.kind}")
    return []
