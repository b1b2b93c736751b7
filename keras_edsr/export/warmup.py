"""Warm-up requests: TensorFlow Serving sends them to a model before it says that the model is there.

Without them the first request of each signature waits while TensorFlow optimizes its graph.

The file is a TFRecord of `PredictionLog` messages. Their classes are in tensorflow-serving-api, which nobody needs who
only exports; the few fields are written here by hand, and a test reads them with those classes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

WARMUP = Path("assets.extra", "tf_serving_warmup_requests")

# Numbers of fields, from prediction_log.proto, predict.proto and model.proto of TensorFlow Serving. A map is written as
# repeated messages of key and value.
_PREDICT_LOG = 6
_REQUEST = 1
_MODEL_SPEC, _INPUTS = 1, 2
_NAME, _SIGNATURE_NAME = 1, 3
_KEY, _VALUE = 1, 2


def write_warmup(path: Path, model_name: str, requests: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes the warm-up requests of a SavedModel.

    Args:
        path: Path of the file.
        model_name: What the model may be called in the server; the server does not look at it.
        requests: By signature: its inputs by name, as `tf.make_tensor_proto` takes them.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests.items():
            spec = _text(_NAME, model_name) + _text(_SIGNATURE_NAME, signature)
            request = _bytes(_MODEL_SPEC, spec)
            for name, value in inputs.items():
                tensor = tf.make_tensor_proto(value).SerializeToString()
                request += _bytes(_INPUTS, _text(_KEY, name) + _bytes(_VALUE, tensor))
            writer.write(_bytes(_PREDICT_LOG, _bytes(_REQUEST, request)))


def _text(number, text):
    return _bytes(number, text.encode())


def _bytes(number, content):
    """A field of a message that has a length: a string, bytes, or a message itself."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value):
    """Seven bits a byte, the lowest first; the highest bit of a byte says that more follow."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
