"""Upscales images by TensorFlow Serving over gRPC; needs tensorflow-serving-api (pip install 'keras-edsr[serving]').

python client_grpc.py photo.jpg more/*.png -o upscaled/ --model edsr_x2 --label stable

tests/test_serving.py runs it.
"""

import argparse
import sys
import time
from pathlib import Path

import grpc
from client_rest import save, wait_before
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

LONGEST_MESSAGE = 256 * 2**20  # bytes; gRPC's own 4 MB are one upscaled photograph


def main():
    """Sends the files in requests of a few, and writes the PNG of each; exits with 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder; files that exist are left alone")
    parser.add_argument("--server", default="127.0.0.1:8500")
    parser.add_argument("--model", default="edsr_x2")
    parser.add_argument("--label", help="version label, such as stable")
    parser.add_argument("--signature", default="upscale_bytes", help="of an MDSR: x2_upscale_bytes, ...")
    parser.add_argument("--together", type=int, default=4, help="images in one request")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    failed = 0
    with connect(args.server) as channel:
        for start in range(0, len(args.images), args.together):
            paths = args.images[start : start + args.together]
            try:
                options = {"label": args.label, "signature": args.signature}
                results = upscale([path.read_bytes() for path in paths], channel, args.model, **options)
            except OSError as error:
                results = [(b"", str(error))] * len(paths)
            for path, (png, status) in zip(paths, results, strict=True):
                failed += not save(png, status, path, args.output)
    sys.exit(1 if failed else 0)


def connect(server):
    """Returns a channel to a server such as "127.0.0.1:8500", without encryption."""
    lengths = {"grpc.max_receive_message_length": LONGEST_MESSAGE, "grpc.max_send_message_length": LONGEST_MESSAGE}
    return grpc.insecure_channel(server, list(lengths.items()))


def upscale(
    images, channel, model, *, label=None, signature="upscale_bytes", attempts=6, timeout=120.0, sleep=time.sleep
):
    """Sends encoded images as one request and tries again where that may help.

    Args:
        images: PNG or JPEG files, as bytes.
        channel: As `connect` returns.
        model: Name of the model in the server.
        label: Version label; None for the newest version.
        signature: Name of one that takes encoded images.
        attempts: How often to try in all.
        timeout: Seconds to wait for an answer.
        sleep: Function that waits between the attempts.

    Returns:
        For each image the PNG and the status, "ok" or what is wrong with that image.

    Raises:
        OSError: There is no answer, or one that says that the whole request is wrong.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if label:
        request.model_spec.version_label = label
    size = tensor_shape_pb2.TensorShapeProto.Dim(size=len(images))
    request.inputs["image_bytes"].CopyFrom(
        tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING,
            tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[size]),
            string_val=images,
        )
    )
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    for attempt in range(1, attempts + 1):
        try:
            outputs = stub.Predict(request, timeout=timeout).outputs
            statuses = [status.decode() for status in outputs["status"].string_val]
            return list(zip(outputs["sr_bytes"].string_val, statuses, strict=True))
        except grpc.RpcError as error:
            # A queue that is full, a server that is starting. A message too long would be so again.
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise OSError(f"{error.code().name}: {error.details()}") from error
            message = f"{error.code().name}: {error.details()}"
        if attempt < attempts:
            sleep(wait_before(attempt))
    raise OSError(f"{message} (tried {attempts} times)")


if __name__ == "__main__":
    main()
