"""Servers on this machine that speak TensorFlow Serving's two protocols and run SavedModels by TensorFlow in Python.

gRPC is the real PredictionService of tensorflow-serving-api. REST follows the documented API and its source
(util/json_tensor.cc, model_servers/http_server.cc): `{"b64": …}` for bytes, names that end in `_bytes` for those of the
answer, and status codes. What they share with the real server is the protocol, not the program.
"""

import base64
import contextlib
import json
import re
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import tensorflow as tf
from google.protobuf import text_format


class NotFoundError(Exception):
    """There is no such model, version, label or signature."""


class UnavailableError(Exception):
    """Try again later."""


class Models:
    """The models of a `models.config`, found in a folder instead of /models.

    Attributes:
        refuse: How many requests to come are refused as unavailable.
        requests: Pairs (model, version) that were asked for.
    """

    def __init__(self, config: Path, folder: Path):
        from tensorflow_serving.config import model_server_config_pb2

        parsed = text_format.Parse(config.read_text(), model_server_config_pb2.ModelServerConfig())
        self.refuse, self.requests = 0, []
        self._models, self._labels = {}, {}
        for model in parsed.model_config_list.config:
            base = folder / Path(model.base_path).relative_to("/models")
            policy = model.model_version_policy
            found = sorted(int(path.name) for path in base.iterdir() if path.name.isdecimal())
            versions = policy.specific.versions or found[-(policy.latest.num_versions or 1) :]
            self._models[model.name] = {v: tf.saved_model.load(str(base / str(v))) for v in versions}
            self._labels[model.name] = dict(model.version_labels)
        self._lock = threading.Lock()

    def find(self, name, label, version, signature):
        """The signature's function, by the rules of the server."""
        if self.refuse:
            self.refuse -= 1
            raise UnavailableError("the queue is full")
        if name not in self._models:
            raise NotFoundError(f"Servable not found for request: Latest({name})")
        if label:
            if label not in self._labels[name]:
                raise NotFoundError(f"Unrecognized servable version label: {label}")
            version = self._labels[name][label]
        version = version or max(self._models[name])
        if version not in self._models[name]:
            raise NotFoundError(f"Servable not found for request: Specific({name}, {version})")
        self.requests.append((name, version))
        signatures = self._models[name][version].signatures
        if signature not in signatures:
            raise NotFoundError(f'Serving signature key "{signature}" not found.')
        return signatures[signature]

    def run(self, function, inputs):
        with self._lock:
            return function(**inputs)


# === gRPC ===


@contextlib.contextmanager
def serve_grpc(models):
    """Yields the address of a PredictionService."""
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            spec = request.model_spec
            try:
                function = models.find(spec.name, spec.version_label, spec.version.value, spec.signature_name)
                inputs = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()}
                outputs = models.run(function, inputs)
            except NotFoundError as error:
                context.abort(grpc.StatusCode.NOT_FOUND, str(error))
            except UnavailableError as error:
                context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            except tf.errors.InvalidArgumentError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
            response = predict_pb2.PredictResponse()
            for name, value in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
            return response

    options = [("grpc.max_receive_message_length", 2**28), ("grpc.max_send_message_length", 2**28)]
    server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


# === REST ===


@contextlib.contextmanager
def serve_rest(models):
    """Yields the URL of a REST API."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                code, answer = 200, predict(models, self.path, json.loads(body))
            except NotFoundError as error:
                code, answer = 404, {"error": str(error)}
            except UnavailableError as error:
                code, answer = 503, {"error": str(error)}
            except (tf.errors.InvalidArgumentError, ValueError) as error:
                code, answer = 400, {"error": getattr(error, "message", str(error))}
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def predict(models, path, body):
    """Answers `POST /v1/models/NAME[/labels/LABEL|/versions/N]:predict`."""
    match = re.fullmatch(r"/v1/models/([^/:]+)(?:/labels/([^/:]+)|/versions/(\d+))?:predict", path)
    if match is None:
        raise NotFoundError(f"Malformed request: POST {path}")
    name, label, version = match.groups()
    function = models.find(name, label, int(version or 0), body.get("signature_name", "serving_default"))
    specs = function.structured_input_signature[1]
    rows = "instances" in body
    columns = _columns(body["instances"], specs) if rows else _named(body["inputs"], specs)
    inputs = {name: tf.constant(_decoded(value), specs[name].dtype) for name, value in columns.items()}
    outputs = {name: _encoded(name, value.numpy()) for name, value in models.run(function, inputs).items()}
    if not rows:
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}
    predictions = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    return {"predictions": predictions if len(outputs) > 1 else [next(iter(row.values())) for row in predictions]}


def _is_b64(value):
    return isinstance(value, dict) and list(value) == ["b64"]


def _columns(instances, specs):
    if isinstance(instances[0], dict) and not _is_b64(instances[0]):
        if any(row.keys() != specs.keys() for row in instances):
            raise ValueError(f"keys must be equal to: {','.join(specs)}")
        return {name: [row[name] for row in instances] for name in specs}
    return {next(iter(specs)): instances}


def _named(inputs, specs):
    return inputs if isinstance(inputs, dict) and not _is_b64(inputs) else {next(iter(specs)): inputs}


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return base64.b64decode(value["b64"]) if _is_b64(value) else value


def _encoded(name, array):
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(item).decode()} for item in array]
    return [item.decode() for item in array]
