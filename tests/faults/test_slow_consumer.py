"""Fault 18: scoring one micro-batch outlasts the group's session: no rebalance, and memory stays where it is."""

import re
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
from confluent_kafka.admin import AdminClient
from onnx import TensorProto, helper, numpy_helper

from tests.faults.harness import SESSION_MS, Scene, Service
from tests.faults.judge import Books
from tests.faults.net import Net, Watch, Work
from tests.support import MODEL

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SEED = 18_001
EVENTS = 5_000
MAX_RECORDS = "1000"  # of a micro-batch; half of the samples are labels
BATCHES_MIN = 6
SESSION_S = SESSION_MS / 1000
SCORING_S = 1.5 * SESSION_S  # of one micro-batch, whatever its size
SIDE = 512  # of the square matrices that are multiplied to pass the time
PROBE_TRIPS = 50  # some tenths of a second
FROM, TO = 2.0, 5.0  # a batch that holds a first feature of this size is slow; the rows that loading tries are not
RSS_GROWTH_MAX = 60_000_000
"""I6: bytes by which serving may grow while it is behind. Measured: 8 MB; the rest is for what allocators keep."""


def slow_model(width: int, trips: int) -> bytes:
    """Says yes where the first feature is positive, after so many products of matrices if there is a real event."""
    nodes = [
        helper.make_node("Gather", ["features", "zero"], ["x"], axis=1),
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("Greater", ["size", "from"], ["above"]),
        helper.make_node("LessOrEqual", ["size", "to"], ["below"]),
        helper.make_node("And", ["above", "below"], ["real"]),
        helper.make_node("Cast", ["real"], ["ones"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["ones"], ["any"], keepdims=0),
        helper.make_node("Mul", ["any", "side"], ["count"]),  # rows of the matrix: all of them, or none
        helper.make_node("Slice", ["start", "first", "count", "first"], ["matrix_0"]),
        *_products(trips),
        helper.make_node("ReduceSum", [f"matrix_{trips}"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "nothing"], ["still_zero"]),  # so that nobody may leave the products out
        helper.make_node("Greater", ["x", "still_zero"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["value"], to=TensorProto.INT64),
        helper.make_node("Cast", ["positive"], ["yes"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Unsqueeze", ["no", "axis"], ["no_column"]),
        helper.make_node("Unsqueeze", ["yes", "axis"], ["yes_column"]),
        helper.make_node("Concat", ["no_column", "yes_column"], ["scores"], axis=1),
    ]
    start = np.random.default_rng(SEED).uniform(-1, 1, (SIDE, SIDE)).astype(np.float32)
    constants = {
        "zero": np.array(0, np.int64), "from": np.array(FROM, np.float32), "to": np.array(TO, np.float32),
        "side": np.array([SIDE], np.int64), "first": np.array([0], np.int64), "start": start,
        "nothing": np.array(0, np.float32), "one": np.array(1, np.float32), "axis": np.array([1], np.int64),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, width])],
        [
            helper.make_tensor_value_info("value", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _products(trips: int) -> list[onnx.NodeProto]:
    """The matrix times the first one, kept between -1 and 1, again and again; serving takes no loops."""
    return [
        node
        for turn in range(trips)
        for node in (
            helper.make_node("MatMul", [f"matrix_{turn}", "start"], [f"product_{turn}"]),
            helper.make_node("Tanh", [f"product_{turn}"], [f"matrix_{turn + 1}"]),
        )
    ]


def trips_for(seconds: float, width: int) -> int:
    """How many products take so long here and now, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(slow_model(width, PROBE_TRIPS), options, providers=["CPUExecutionProvider"])
    rows = np.full((1, width), (FROM + TO) / 2, np.float32)
    began_s = time.perf_counter()
    session.run(None, {"features": rows})
    return int(PROBE_TRIPS * seconds / (time.perf_counter() - began_s)) + 1


def members(scene: Scene) -> set[str]:
    """The ids of the serving group's members, by a client that is not ours. A rejoin after an expiry has a new one."""
    admin = AdminClient({"bootstrap.servers": scene.broker.bootstrap_servers})
    group = f"millrace-serving-{scene.project.model}"
    return {member.member_id for member in admin.describe_consumer_groups([group])[group].result(30).members}


def batches(service: Service) -> tuple[int, float]:
    """How many micro-batches it has processed, and how many seconds that took it in all."""
    found = dict(
        re.findall(r'^millrace_batch_seconds_(count|sum)\{service="serving"\} (\S+)', service.metrics(), re.MULTILINE)
    )
    return int(float(found.get("count", 0))), float(found.get("sum", 0))


def is_exact(books: Books) -> bool:
    """Whether every prediction is what the model says of its sample."""
    first = {(seen.partition, seen.offset): sample["features"][:1] for seen, sample in books.samples}
    return all(
        value["value"] == float(first[value["sample_partition"], value["sample_offset"]][0] > 0)
        for _, value in books.predictions
    )


def test_scoring_slower_than_the_session_costs_no_rebalance_and_no_memory(net: Net, tmp_path: Path) -> None:
    """Heartbeats go on while a micro-batch takes longer than the session: one assignment, the same member, exact."""
    width = len(MODEL["features"])
    model = slow_model(width, trips_for(SCORING_S, width))
    with Work(net, tmp_path, seed=SEED, burst=EVENTS, model=model, MAX_RECORDS=MAX_RECORDS) as work:
        serving, before = work.serving, members(work.scene)
        with Watch(psutil.Process(serving.pid).memory_info) as memory:
            behind = work.feed.events - sum(work.seen().values())
            work.drain()
        count, seconds = batches(serving)
        after, ready = members(work.scene), serving.ready()
        books = work.finish()
    sizes = [answer.rss for answer in memory.answers]
    print(f"{count} batches, {seconds:.1f} s, {behind} behind, {sizes[0]:,} to {max(sizes):,} bytes")  # noqa: T201

    assert count >= BATCHES_MIN
    assert seconds / count > SESSION_S, "a micro-batch took longer than the session"
    assert behind > EVENTS // 4, "there was a backlog"
    assert (1, before, [0]) == (len(before), after, serving.exits), "the same member, all the while"
    assert ready
    assert 1 == len(serving.said("lanes assigned")), serving.tail()
    assert [] == [line for line in serving.lines() if "eartbeat" in str(line.get("event"))]
    assert max(sizes) - sizes[0] < RSS_GROWTH_MAX
    assert is_exact(books)
