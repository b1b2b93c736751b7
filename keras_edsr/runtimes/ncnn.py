"""EDSR and MDSR in ncnn, whose Winograd convolutions take about half the time of TensorFlow's on a CPU."""

import contextlib
import ctypes
import functools
import importlib.util
import os
import sys
import threading

import numpy as np

from ..image_ops import PEAK
from ..machine import count_cores
from .ncnn_format import Networks
from .ncnn_graph import END, Graph
from .ncnn_rewrite import FEATURES, has_one_convolution, kernels_of_3, merge_linear_end

# LR pixels: the outermost one's result takes the features of three, see ncnn_rewrite.
_STRIP = 3
_WHOLE, _FIRST, _LAST = (0, END), (0, _STRIP), (-_STRIP, END)
_EDGES = {  # rows and columns
    "top": (_FIRST, _WHOLE),
    "bottom": (_LAST, _WHOLE),
    "left": (_WHOLE, _FIRST),
    "right": (_WHOLE, _LAST),
}


def is_installed() -> bool:
    """Whether the package `ncnn` is there; it is not imported."""
    return importlib.util.find_spec("ncnn") is not None


def gpu_name() -> str | None:
    """The name of the Vulkan device that ncnn would take, or None."""
    ncnn = _import_ncnn()
    if ncnn.get_gpu_count() == 0:
        return None
    return ncnn.get_gpu_info(ncnn.get_default_gpu_index()).device_name()


def _check_gpu():
    name = gpu_name()
    if name is None:
        raise ValueError(
            "ncnn finds no GPU: it needs a driver for Vulkan, such as that of your GPU's maker, or "
            "mesa-vulkan-drivers. Omit `device` to use the CPU."
        )
    if name.startswith("llvmpipe") and "tensorflow" in sys.modules:
        # Each brings an LLVM of its own, and the driver's functions would be taken from TensorFlow's: it dies.
        raise ValueError(
            f"The only Vulkan device, {name}, is Mesa's in software, which crashes where TensorFlow is loaded. Leave "
            "out `device` to use the CPU; or export the model to ncnn, which then runs without TensorFlow."
        )


@functools.cache
def _import_ncnn():
    """Imports ncnn so that its threads sleep while they wait for each other.

    By default GNU's OpenMP lets them spin, which doubles the time if another process needs the same cores. Sleeping
    had no measurable cost on an idle machine. The setting must precede the import.
    """
    variables = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    ours = not any(name in os.environ for name in variables)
    if ours:
        os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        import ncnn
    finally:
        if ours:
            del os.environ["GOMP_SPINCOUNT"]
    return ncnn


class NcnnRuntime:
    """Runs tiles through ncnn in float32, each scale's network made when it is first needed.

    The weights are those of `networks`: a model that is trained further does not change them.

    Winograd's rounding depends on where in its tile a pixel lies. So tiles equal the whole image, and TensorFlow, to
    about 1e-3 of a gray level; after rounding to uint8 about one value in a thousand may differ, by one.

    Args:
        networks: Dict, scale to (`Graph`, `About`), as `ncnn_networks` and `read_ncnn` return.
        device: "cpu", or "gpu" for the first Vulkan device.

    Raises:
        ValueError: If ncnn is not installed, or there is no Vulkan device that works in this process.
    """

    def __init__(self, networks: Networks, device: str = "cpu"):
        if not is_installed():
            raise ValueError("The runtime ncnn needs the package ncnn: pip install 'keras-edsr[ncnn]'")
        if device == "gpu":
            _check_gpu()
        told = [about for _, about in networks.values()]
        self.scales = tuple(networks)
        self.halo = max(about.halo for about in told)
        self.channels = told[0].channels
        self.filters = told[0].filters
        self.device = device
        self.device_name = gpu_name() if device == "gpu" else f"the CPU ({_num_threads()} threads)"
        self._has_kernels_of_5 = any(about.family == "mdsr" for about in told)
        self._graphs = {scale: graph for scale, (graph, _) in networks.items()}
        self._networks: dict[int, _AsItIs | _Merged] = {}
        self._lock = threading.Lock()

    def bytes_per_pixel(self, scale):
        """Memory that ncnn takes per LR pixel.

        Measured at 32 to 256 filters, in float32 values: 7 to 11 for each filter, of which 4.5 are Winograd's
        transforms; 26 where a 5x5 convolution is one of 3x3 with four times the channels; and the result four times.
        On a GPU nothing is merged, and the features come in the size of the result, twice.
        """
        per_filter = 26 if self._has_kernels_of_5 else 11
        if self.device == "gpu":
            per_filter += 2 * scale**2
        return 4 * (self.filters * per_filter + 4 * self.channels * scale**2)

    def free_memory(self):
        """Bytes that a GPU has for us; None on the CPU."""
        if self.device != "gpu":
            return None
        ncnn = _import_ncnn()
        return ncnn.get_gpu_device(ncnn.get_default_gpu_index()).get_heap_budget() * 1e6

    def run(self, tiles, scale):
        """Returns the SR tiles: float32 `(n, h, w, c)` to `(n, s*h, s*w, c)`, in 0..255 but not clipped."""
        network = self._network(scale)
        results = [network(tile) for tile in tiles]
        return results[0][None] if len(results) == 1 else np.stack(results)

    def release(self):
        """Gives back the memory that is kept from one tile for the next."""
        for network in list(self._networks.values()):
            network.release()
        # glibc keeps what is freed in pieces below 32 MB; others' C libraries have no such function.
        with contextlib.suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)

    def _network(self, scale):
        with self._lock:
            if scale not in self._networks:
                graph = _times_peak(self._graphs[scale])
                if self.device == "gpu":
                    self._networks[scale] = _AsItIs(graph, gpu=True)
                elif has_one_convolution(graph):
                    self._networks[scale] = _AsItIs(kernels_of_3(graph))
                else:
                    self._networks[scale] = _Merged(kernels_of_3(graph), scale)
            return self._networks[scale]


class _Merged:
    """The network rewritten for speed."""

    def __init__(self, graph, scale):
        merged, end = merge_linear_end(graph)
        cut = next(i for i, layer in enumerate(merged.layers) if FEATURES in layer.inputs)
        convolution, *rest = merged.layers[cut:]
        merged = Graph(merged.layers[:cut])
        features, *copies = merged.split("copy", FEATURES, 1 + len(_EDGES))
        merged.layers += [convolution._replace(inputs=(features,)), *rest]
        for (edge, where), copy in zip(_EDGES.items(), copies, strict=True):
            merged.slice(edge, copy, *where)
        self._net, self._end, self._scale = _Net(merged), _Net(end), scale

    def __call__(self, tile):
        self._net.make_room(tile.shape[0] * tile.shape[1])
        run = self._net.start("data", _to_planes(tile))
        if min(tile.shape[:2]) < _STRIP:
            return self._run_end(run.get(FEATURES))
        sr = _to_pixels(run.get("output"))
        for edge, (rows, columns) in _EDGES.items():
            strip = self._run_end(run.get(edge))
            outermost = (self._outermost(rows), self._outermost(columns))
            sr[outermost] = strip[outermost]
        return sr

    def _run_end(self, features):
        return _to_pixels(self._end.start(FEATURES, features).get("output"))

    def _outermost(self, span):
        return {_WHOLE: np.s_[:], _FIRST: np.s_[: self._scale], _LAST: np.s_[-self._scale :]}[span]

    def release(self):
        self._net.release()


class _AsItIs:
    """The network with its linear end as it is."""

    def __init__(self, graph, gpu=False):
        self._net, self._gpu = _Net(graph, gpu), gpu

    def __call__(self, tile):
        if not self._gpu:  # a GPU's memory is not the computer's
            self._net.make_room(tile.shape[0] * tile.shape[1])
        return _to_pixels(self._net.start("data", _to_planes(tile)).get("output"))

    def release(self):
        if not self._gpu:
            self._net.release()


class _Net:
    """An `ncnn.Net`, and the weights that it refers to."""

    def __init__(self, graph, gpu=False):
        ncnn = _import_ncnn()
        self._weights = graph.weights()  # ncnn does not copy all of them
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = _num_threads()
        options.use_vulkan_compute = gpu
        for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(options, name, False)  # float32 throughout: TensorFlow's pixels
        # Memory of one tile is reused for the next, as in ncnn; in separate pools, because only these can be emptied.
        self._pools = ncnn.PoolAllocator(), ncnn.PoolAllocator()
        options.blob_allocator, options.workspace_allocator = self._pools
        self._largest = 0
        if self._net.load_param_mem(graph.param().decode()) != 0:
            raise ValueError("ncnn cannot read the network. Is the package too old? pip install -U ncnn")
        self._net.load_model_mem(self._weights)

    def start(self, name, planes):
        """Feeds the blob `name`; nothing is computed before a result is asked for."""
        return _Run(self._net.create_extractor(), name, planes)

    def make_room(self, pixels):
        """Empties the pools before the largest tile yet: what smaller ones left there is too small for it."""
        if pixels > self._largest:
            self.release()
            self._largest = pixels

    def release(self):
        """Gives back what is in the pools; not what another thread has taken from them."""
        for pool in self._pools:
            pool.clear()
        self._largest = 0


class _Run:
    def __init__(self, extractor, name, planes):
        self._extractor = extractor
        self._extractor.input(name, planes)

    def get(self, name):
        """Computes the blob `name`, as an `ncnn.Mat`; what was computed for another is not computed again."""
        status, planes = self._extractor.extract(name)
        if status != 0:
            raise ValueError("ncnn has too little memory for a tile of this size. Pass a smaller `tile_size`.")
        return planes


def _num_threads():
    """OMP_NUM_THREADS, else one for each core: a second on a core slows Winograd down."""
    if os.environ.get("OMP_NUM_THREADS", "").isdecimal():
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    cores = _import_ncnn().get_physical_big_cpu_count()
    return min(cores, count_cores())


def _times_peak(graph):
    """The network with its result in 0..255 instead of [0, 1]."""
    layers = list(graph.layers)
    last = max(i for i, layer in enumerate(layers) if layer.kind == "Convolution")
    kernel, bias = layers[last].weights
    layers[last] = layers[last]._replace(weights=(kernel * np.float32(PEAK), bias * np.float32(PEAK)))
    return Graph(layers)


def _to_planes(tile):
    """Pixels `(h, w, c)` in 0..255 as planes in [0, 1], in memory that ncnn has aligned."""
    height, width, channels = tile.shape
    planes = _import_ncnn().Mat(width, height, channels)
    np.divide(tile.transpose(2, 0, 1), np.float32(PEAK), out=np.asarray(planes))
    return planes


def _to_pixels(planes):
    """A view `(h, w, c)` of the planes."""
    return np.asarray(planes).transpose(1, 2, 0)
