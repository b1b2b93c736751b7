import json
import socket

import keras
import numpy as np
import pytest
import tensorflow as tf
from two_workers import SCRIPT, Workers, fit, free_ports

from keras_edsr.trainer import workers
from keras_edsr.trainer.workers import Cluster, check_versions, connect, has_workers, read_cluster, split_batches

TWO = {"cluster": {"worker": ["a:9000", "b:9000"]}, "task": {"type": "worker", "index": 1}}


# === TF_CONFIG ===


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (TWO, Cluster(("a:9000", "b:9000"), 1)),
        ({**TWO, "task": {"type": "worker", "index": "0"}}, Cluster(("a:9000", "b:9000"), 0)),
        (
            {"cluster": {"worker": ["b:1"], "chief": ["a:1"]}, "task": {"type": "chief", "index": 0}},
            Cluster(("a:1", "b:1"), 0),
        ),
        (
            {"cluster": {"worker": ["b:1", "c:1"], "chief": ["a:1"]}, "task": {"type": "worker", "index": 1}},
            Cluster(("a:1", "b:1", "c:1"), 2),
        ),
        ({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}, None),
        ({}, None),
    ],
)
def test_the_workers_are_read_in_the_order_of_tensorflow(config, expected):
    assert read_cluster(json.dumps(config)) == expected
    assert read_cluster(None) is read_cluster("") is None
    if expected:
        spec = tf.distribute.cluster_resolver.TFConfigClusterResolver  # what TensorFlow makes of it
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TF_CONFIG", json.dumps(config))
            resolver = spec()
            own = resolver.cluster_spec().task_address(resolver.task_type, resolver.task_id)
        assert expected.addresses[expected.index] == own


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        json.dumps({**TWO, "task": {"type": "worker", "index": 2}}),
        json.dumps({**TWO, "task": {"type": "worker", "index": -1}}),
        json.dumps({**TWO, "task": {"type": "worker"}}),
        json.dumps({**TWO, "task": {"type": "evaluator", "index": 0}}),
        json.dumps({"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}),
        json.dumps({"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": 0}}),
    ],
)
def test_a_cluster_that_cannot_train_is_refused(config):
    with pytest.raises(ValueError, match="TF_CONFIG must"):
        read_cluster(config)


# === What is relied on ===


def test_these_versions_will_do():
    check_versions()


def test_keras_still_sums_the_gradients_where_it_is_told_not_to():
    # What `gradients_are_summed` replaces must be what `apply` calls, or gradients are added up twice.
    optimizer = keras.optimizers.SGD(1.0)
    called = []
    weight = keras.Variable(1.0)
    with workers.gradients_are_summed(optimizer):
        replaced = optimizer._all_reduce_sum_gradients
        optimizer._all_reduce_sum_gradients = lambda pairs: called.append(True) or replaced(pairs)
        optimizer.apply([tf.constant(0.25)], [weight])
    assert called
    assert float(weight) == 0.75


@pytest.mark.parametrize("name", ["configure_coordination_service", "wait_at_barrier"])
def test_a_tensorflow_that_lacks_a_part_is_refused(monkeypatch, name):
    monkeypatch.delattr(workers.context.Context, name)
    with pytest.raises(ValueError, match=rf"without TensorFlow's context\.{name}"):
        check_versions()


def test_workers_meet_before_anything_else_is_done_with_tensorflow():
    tf.constant(0)
    with pytest.raises(ValueError, match="must be the first thing that a process does with TensorFlow"):
        connect(Cluster(("127.0.0.1:1", "127.0.0.1:2"), 1), 0)


def test_the_chief_does_not_wait_without_end_for_one_that_does_not_come(monkeypatch):
    monkeypatch.setattr(workers, "START_SECONDS", 0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there, missing = f"127.0.0.1:{listening.getsockname()[1]}", f"127.0.0.1:{free_ports()[0]}"
        with pytest.raises(ConnectionError) as raised:
            connect(Cluster(("127.0.0.1:1", there, missing), 0), 0)
    assert f"come together: {missing} cannot be reached from the chief after 0 seconds." in str(raised.value)


# === What they train on ===


def test_one_process_is_no_several_workers():
    assert not has_workers(tf.distribute.get_strategy())
    assert not has_workers(tf.distribute.OneDeviceStrategy("/cpu:0"))


def test_batches_are_divided_whatever_the_dataset_says():
    policy = tf.data.experimental.AutoShardPolicy
    data = split_batches("x", tf.data.Dataset.range(4).batch(2))
    assert data.options().experimental_distribute.auto_shard_policy == policy.DATA
    assert [batch.tolist() for batch in data.as_numpy_iterator()] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("policy", ["OFF", "FILE"])
def test_batches_that_were_divided_already_are_refused(policy):
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy[policy]
    with pytest.raises(ValueError, match="`x` must have whole batches"):
        split_batches("x", tf.data.Dataset.range(4).batch(2).with_options(options))


def test_arrays_are_refused_for_each_worker_would_shuffle_its_own():
    with pytest.raises(ValueError, match=r"`x` must be a tf\.data\.Dataset"):
        split_batches("x", (np.zeros(2), np.zeros(2)))


# === The loop, without train ===


@pytest.mark.slow
def test_two_workers_train_as_one(tmp_path):
    command = (SCRIPT, "fit", tmp_path / "result.json")
    Workers(tmp_path, command, command).finish_well()
    fit(tmp_path / "result.json")
    one = json.loads((tmp_path / "result.json").read_text())
    assert one["skipped"] > 0
    for index in range(2):
        result = json.loads((tmp_path / f"result.json.{index}").read_text())
        assert "a batch must be the same on each" in result.pop("refused")
        for name, value in one.items():
            if isinstance(value, dict | int):
                assert result[name] == pytest.approx(value, rel=1e-5), name
            else:
                for a, b in zip(value, result[name], strict=True):
                    np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)
