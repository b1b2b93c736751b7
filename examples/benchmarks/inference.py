"""Seconds and peak memory of upscaling one image: `keras_edsr.upscale` against the raw runtimes, on the same weights.

python examples/benchmarks/inference.py            # 256x256 and 480x320
python examples/benchmarks/inference.py --large    # 1920x1080 too: half an hour more; what lacks memory fails

Ours is the whole call, from a uint8 image to a uint8 image; the others get a float32 array in the layout that they like
best and are not asked to round. Each runs in a process of its own, which it holds alone for the memory; rounds take
every candidate in turn, so that a machine whose speed drifts slows all of them. At 1920x1080 each round has processes
of its own, one after the other, whose second run is timed. What is not installed is left out: pip install ncnn torch
onnx onnxruntime openvino MNN. Run for README's table.
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

NETS = {"baseline 16x64 x2": (2, 16, 64), "baseline 16x64 x4": (4, 16, 64), "compact 8x32 x2": (2, 8, 32)}
SIZES = [(256, 256), (320, 480)]
LARGE = (1080, 1920)
ANSWER = "answer:"
OURS = {"keras_edsr, ncnn": ("raw ncnn", "MNN"), "keras_edsr, TensorFlow": ("raw tf.function",)}  # held against these
TOLERANCE = 0.6  # gray levels, of a picture's mean, least and most: ours are rounded


def main():
    """Prints a table for each network and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--large", action="store_true", help="1920x1080 too")
    parser.add_argument("--large-rounds", type=int, default=3, help="of these")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(*args.worker, args.threads)
        return
    if args.prepare:
        step, folder, *net = args.prepare
        PREPARATIONS[step](Path(folder), *map(int, net))
        return
    print(machine(args.threads))
    for name, net in NETS.items():
        if args.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            for step in PREPARATIONS:  # each in a process of its own: MNN and TensorFlow don't bear one another
                command = [sys.executable, __file__, "--prepare", step, folder, *map(str, net)]
                subprocess.run(command, check=True, env=quiet(), stdout=subprocess.DEVNULL)
            for size in [*SIZES, *[LARGE] * args.large]:
                print(f"\n{name}, LR {size[1]}x{size[0]}")
                rounds = args.large_rounds if size == LARGE else args.rounds
                report(measure(folder, size, rounds, args.threads))


def report(results):
    """Prints medians, ratios to the raw runtimes of the same kind, and peak memory."""
    for name, (times, memory) in sorted(results.items(), key=lambda item: statistics.median(item[1][0])):
        line = f"  {name:24} {statistics.median(times):8.3f} s   {memory:6.0f} MB"
        for other in OURS.get(name, ()):
            if other in results:
                ratio = statistics.median(a / b for a, b in zip(times, results[other][0], strict=True))
                line += f"   {ratio:.2f} x {other}"
        print(line, flush=True)


def measure(folder, size, rounds, threads):
    """Returns, for each candidate, its seconds in each round and the MB it took at most."""
    names = [name for name, (_, packages) in CANDIDATES.items() if all(map(importlib.util.find_spec, packages))]
    keep = size != LARGE  # all at once would need tens of GB
    workers = {name: start(folder, name, size, threads) for name in names} if keep else {}
    times, memory, pictures = {name: [] for name in names}, {}, []
    for number in range(rounds):
        for name in list(times):
            worker = workers.get(name) or start(folder, name, size, threads)
            time.sleep(0.1)  # the threads of the one before may still spin
            [seconds] = ask(worker, "run") or [math.nan]
            times[name].append(seconds)
            [memory[name]] = ask(worker, "memory") or [math.nan]
            if number == 0:
                picture = ask(worker, "picture")
                first = pictures[0] if pictures else picture
                if picture is None or any(abs(x - y) > TOLERANCE for x, y in zip(picture, first, strict=True)):
                    print(f"  {name}: failed, or another picture; its mean, least and most: {picture}")
                    del times[name]
                else:
                    pictures.append(picture)
            if not keep or name not in times:
                end(worker)
    for name in times if keep else ():
        end(workers[name])
    return {name: (times[name], memory[name]) for name in times}


def start(folder, name, size, threads):
    """Returns a worker that has run once: that traces, and fills caches."""
    command = [sys.executable, __file__, "--threads", str(threads), "--worker", folder, name, *map(str, size)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet())
    ask(worker, "run")
    return worker


def end(worker):
    """Ends a worker, whatever it does."""
    worker.kill()
    worker.communicate()


def ask(worker, question):
    """Sends a line to a worker, and returns the numbers that it answers; None if it has died."""
    try:
        print(question, file=worker.stdin, flush=True)
    except BrokenPipeError:
        return None
    for line in worker.stdout:
        if line.startswith(ANSWER):  # MNN writes of its own there
            return [float(number) for number in line.removeprefix(ANSWER).split()]
    return None


def work(folder, name, height, width, threads):
    """What a worker does: "run" answers with seconds, "picture" with its mean, least and most, "memory" with MB."""
    make, _ = CANDIDATES[name]
    # Smooth, and with a little noise.
    rows, columns = np.mgrid[: int(height), : int(width)]
    waves = np.stack([127 + 100 * np.sin(rows / (9 + k)) * np.cos(columns / (23 - 5 * k)) for k in range(3)], axis=-1)
    pixels = (waves + np.random.default_rng(0).integers(0, 20, waves.shape)).astype(np.uint8)
    run = make(Path(folder), pixels, int(threads))
    sr = None
    for line in sys.stdin:
        match line.strip():
            case "memory":
                print(ANSWER, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, flush=True)
            case "picture":
                print(ANSWER, *gray_levels(sr), flush=True)
            case "run":
                sr = None
                start = time.perf_counter()
                sr = run()
                print(ANSWER, time.perf_counter() - start, flush=True)


def gray_levels(sr):
    """Mean, least and most of a picture in 0..255, or [0, 1], without a copy of it."""
    pixels = sr.getNumpyData() if hasattr(sr, "getNumpyData") else np.asarray(sr)  # MNN's lie in the tensor
    unit = 1 if pixels.max() > 10 else 255
    return unit * pixels.mean(dtype=np.float64), *np.clip([unit * pixels.min(), unit * pixels.max()], 0, 255)


def quiet():
    """The environment of a child: without the notes of TensorFlow."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_minloglevel": "3"}


def machine(threads):
    """One line: what was measured on what, when."""
    names = ("tensorflow", "ncnn", "torch", "onnxruntime", "openvino", "MNN")
    versions = [f"{n} {importlib.metadata.version(n)}" for n in names if importlib.util.find_spec(n)]
    model = platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), model)
    return f"{datetime.date.today()}, {model}, {threads} threads, Python {platform.python_version()}, " + ", ".join(
        versions
    )


# === The same weights for all ===


def prepare_keras(folder, scale, num_blocks, filters):
    """Writes one random network as model.keras, and for ncnn."""
    import keras

    import keras_edsr
    from keras_edsr.runtimes.ncnn_format import ncnn_files, ncnn_networks

    keras.utils.set_random_seed(0)
    model = keras_edsr.EDSR(scale, num_blocks, filters, residual_scaling=1.0)
    model.save(folder / "model.keras")
    (folder / "ncnn").mkdir()
    for name, content in ncnn_files(ncnn_networks(model.network, model.get_arrays()), "model").items():
        (folder / "ncnn" / name).write_bytes(content)


def prepare_onnx(folder, *_):
    """Makes model.onnx of ncnn's files, where there are torch and onnx."""
    if not (importlib.util.find_spec("torch") and importlib.util.find_spec("onnx")):
        return
    import torch

    warnings.simplefilter("ignore")  # of the older of PyTorch's exporters, which needs no further package
    torch.onnx.export(
        torch_model(folder),
        torch.zeros(1, 3, 32, 32),
        folder / "model.onnx",
        input_names=["data"],
        output_names=["output"],
        dynamic_axes={"data": {2: "h", 3: "w"}},
        dynamo=False,
    )


def prepare_mnn(folder, *_):
    """Makes model.mnn of model.onnx, where there is MNN."""
    if not ((folder / "model.onnx").exists() and importlib.util.find_spec("MNN")):
        return
    import _tools  # of MNN; its command mnnconvert would also install packages and send statistics

    files = ["--modelFile", folder / "model.onnx", "--MNNModel", folder / "model.mnn"]
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", *map(str, files), "--bizCode", "x"])


PREPARATIONS = {"keras": prepare_keras, "onnx": prepare_onnx, "mnn": prepare_mnn}


def torch_model(folder):
    """The network in PyTorch, from ncnn's files: RGB in [0, 1], like them."""
    import torch
    from torch import nn

    from keras_edsr.runtimes.ncnn_format import read_ncnn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            [(self.graph, _)] = read_ncnn(folder / "ncnn").values()
            self.layers = nn.ModuleDict()
            for layer in self.graph.layers:
                if layer.kind == "Convolution":
                    kernel, bias = layer.weights
                    conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2:], padding=kernel.shape[2] // 2)
                    conv.weight.data, conv.bias.data = torch.tensor(kernel), torch.tensor(bias)
                    self.layers[layer.name] = conv

        def forward(self, x):
            blobs = {"data": x}
            for kind, name, inputs, outputs, settings, weights in self.graph.layers[1:]:
                x = blobs.pop(inputs[0])
                if kind == "Convolution":
                    x = self.layers[name](x)
                    x = torch.relu_(x) if 9 in settings else x
                elif kind == "Scale":
                    x = x + torch.tensor(weights[1])[:, None, None]
                elif kind == "BinaryOp":
                    x = x + blobs.pop(inputs[1])
                elif kind == "PixelShuffle":
                    x = nn.functional.pixel_shuffle(x, settings[0])
                blobs.update(dict.fromkeys(outputs, x))
            return x

    return Network().eval()


def planes(pixels):
    """RGB planes in [0, 1], (1, 3, h, w)."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / 255


# === The candidates: each returns the function that is timed ===


def ours_ncnn(folder, pixels, threads):
    """`upscale` with ncnn."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import keras_edsr

    return lambda: keras_edsr.upscale(folder / "ncnn", pixels)


def ours_tensorflow(folder, pixels, threads):
    """`upscale` with TensorFlow."""
    use_threads(threads)
    import keras_edsr

    return lambda: keras_edsr.upscale(folder / "model.keras", pixels, runtime="tensorflow")


def raw_function(folder, pixels, threads):
    """The Keras model in a tf.function, dynamic sizes."""
    tf = use_threads(threads)
    import keras

    import keras_edsr.models  # noqa: F401  (its classes)

    model = keras.saving.load_model(folder / "model.keras", compile=False)
    function = tf.function(model, input_signature=[tf.TensorSpec([None, None, None, 3])], autograph=False)
    lr = tf.constant(pixels[None], tf.float32)
    return lambda: function(lr).numpy()


def use_threads(threads):
    """TensorFlow, told how many."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    return tf


def raw_ncnn(folder, pixels, threads):
    """The exported files, with ncnn's own options but for half precision."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    [param] = (folder / "ncnn").glob("*.param")
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))
    lr = planes(pixels)[0]
    lr = ncnn.Mat(lr).clone()

    def run():
        extractor = net.create_extractor()
        extractor.input("data", lr)
        return np.asarray(extractor.extract("output")[1])

    return run


def raw_mnn(folder, pixels, threads):
    """MNN, float32."""
    import MNN

    interpreter = MNN.Interpreter(str(folder / "model.mnn"))
    session = interpreter.createSession({"backend": "CPU", "numThread": threads, "precision": "high"})
    x = interpreter.getSessionInput(session)
    lr = planes(pixels)
    interpreter.resizeTensor(x, lr.shape)
    interpreter.resizeSession(session)
    given = MNN.Tensor(lr.shape, MNN.Halide_Type_Float, lr, MNN.Tensor_DimensionType_Caffe)

    def run():
        x.copyFrom(given)
        interpreter.runSession(session)
        y = interpreter.getSessionOutput(session)
        sr = MNN.Tensor(
            y.getShape(), MNN.Halide_Type_Float, np.empty(y.getShape(), np.float32), MNN.Tensor_DimensionType_Caffe
        )
        y.copyToHostTensor(sr)
        return sr

    return run


def raw_torch(folder, pixels, threads):
    """PyTorch, eager, channels_last."""
    import torch

    torch.set_num_threads(threads)
    model = torch_model(folder).to(memory_format=torch.channels_last)
    lr = torch.from_numpy(planes(pixels)).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run():
        return model(lr).numpy()

    return run


def raw_onnxruntime(folder, pixels, threads):
    """ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    lr = planes(pixels)
    return lambda: session.run(None, {"data": lr})[0]


def raw_openvino(folder, pixels, threads):
    """OpenVINO, float32, dynamic sizes."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.compile_model(folder / "model.onnx", "CPU", settings).create_infer_request()
    lr = planes(pixels)
    return lambda: request.infer({0: lr})[0]


CANDIDATES = {  # and the packages that each needs
    "keras_edsr, ncnn": (ours_ncnn, ["ncnn"]),
    "keras_edsr, TensorFlow": (ours_tensorflow, []),
    "raw ncnn": (raw_ncnn, ["ncnn"]),
    "raw tf.function": (raw_function, []),
    "PyTorch, channels_last": (raw_torch, ["torch"]),
    "ONNX Runtime": (raw_onnxruntime, ["torch", "onnx", "onnxruntime"]),
    "OpenVINO": (raw_openvino, ["torch", "onnx", "openvino"]),
    "MNN": (raw_mnn, ["torch", "onnx", "MNN"]),
}

if __name__ == "__main__":
    main()
