"""Large images on the way, the node, its cameras' publishers, and the clock of their stamps."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from sensor_msgs.msg import Image

from chatspot_ros.operators.client import Frame
from chatspot_ros.ros.camera_diagnosis import TRANSPORT_REMEDY
from chatspot_ros.ros.camera_subscriber import read_head
from chatspot_ros.ros.operator_client import RosOperatorClient
from chatspot_ros.ros.operator_link import CameraTopics
from chatspot_ros.tools.checks.finding import Finding, bad, ok, warn

IMAGES = 20
_PROBE = "chatspot_ros.tools.checks.transport_probe"
_PROBE_S, _ON_ITS_WAY_S = 40.0, 2.0
# One in ten may be lost as the first come. Too small buffers lose nearly all; a busy machine, some.
_ENOUGH, _SOME = 0.9, 0.25
_NODE_S, _CAMERAS_S, _FRAME_S = 6.0, 4.0, 6.0
# The node refuses frames older than max_image_age, 10 s unless it was set.
_SKEW_S, _BAD_SKEW_S = 1.0, 10.0
_NS = 1_000_000_000


def check_transport(client: RosOperatorClient, count: int = IMAGES) -> Finding:
    """Publish 1080p images with best effort from another process, and count those that come."""
    about = "large images"
    topic = f"/chatspot_doctor_{uuid.uuid4().hex[:8]}/image"
    came: set[int] = set()
    all_came = threading.Event()
    # Deep enough for all, so that only the way loses any.
    qos = QoSProfile(depth=count, reliability=ReliabilityPolicy.BEST_EFFORT)

    def on_image(data: bytes) -> None:
        came.add(read_head(data, Image).stamp_ns)
        if len(came) == count:
            all_came.set()

    made: list[Any] = []
    client.in_thread(
        lambda: made.append(client.node.create_subscription(Image, topic, on_image, qos, raw=True))
    )
    with subprocess.Popen(
        [sys.executable, "-m", _PROBE, topic, str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as probe:  # fmt: skip
        ended = threading.Event()
        reader = threading.Thread(target=_until_published, args=(probe, ended), daemon=True)
        reader.start()
        try:
            ended.wait(_PROBE_S)
            all_came.wait(_ON_ITS_WAY_S)
        finally:
            # Told to end, it may wait for ever in Fast DDS (eProsima/Fast-DDS#6066).
            probe.kill()
            reader.join()
        errors = [line for line in (probe.stderr or ()) if line.strip()]
    client.in_thread(lambda: client.node.destroy_subscription(made[0]))
    said = f"{len(came)} of {count} 1080p images came (best effort, from another process)"
    if not came and errors:
        said += f"; {errors[-1].strip()}"
    if len(came) >= _ENOUGH * count:
        return ok(about, said)
    if len(came) >= _SOME * count:
        return warn(about, said, f"look again when the machine is less busy. {TRANSPORT_REMEDY}")
    return bad(about, said, TRANSPORT_REMEDY)


def _until_published(probe: subprocess.Popen[str], ended: threading.Event) -> None:
    assert probe.stdout is not None
    probe.stdout.readline()
    ended.set()


def check_node(client: RosOperatorClient) -> Iterator[Finding]:
    """Look at the node, the publishers of its cameras and the clock of their stamps.

    Nothing but one line, where no node runs.
    """
    name = client.link.name
    _wait(lambda: client.link.ready, _NODE_S)
    if not client.link.ready:
        yield ok("node", f"no {name} runs, so its cameras were not looked at ({client.problem()})")
        return
    _wait(lambda: bool(client.cameras()), _CAMERAS_S)
    problem = client.link.problem()
    if problem:
        yield warn("node", f"{name}: {problem}", "see docs/reliability.md")
    else:
        yield ok("node", f"{name} answers")
    for camera, topics in client.link.cameras.items():
        yield from check_publishers(client.node, name, camera, topics)
        yield check_clock(client, camera, topics)


def check_publishers(node: Node, name: str, camera: str, topics: CameraTopics) -> Iterator[Finding]:
    """Look whether the node can hear the publishers of a camera."""
    about = f"camera {camera}"
    publishers = node.get_publishers_info_by_topic(topics.image)
    if not publishers:
        yield bad(
            about, f"nothing publishes {topics.image}",
            "start the camera, or remap `image` (image:=/camera/image_raw)",
        )  # fmt: skip
        return
    own = name.rpartition("/")
    readers = [
        one
        for one in node.get_subscriptions_info_by_topic(topics.image)
        if (one.node_namespace.rstrip("/"), one.node_name) == (own[0], own[2])
    ]
    for one in publishers:
        who = f"{one.node_namespace.rstrip('/')}/{one.node_name} on {topics.image}"
        qos = (
            f"{one.qos_profile.reliability.name.lower()}, {one.qos_profile.durability.name.lower()}"
        )
        for reader in readers:
            if one.topic_type != reader.topic_type:
                yield bad(
                    about, f"{who} is {one.topic_type}, the node wants {reader.topic_type}",
                    "set image_transport, or remap `image`",
                )  # fmt: skip
                break
            fits, why = qos_check_compatible(one.qos_profile, reader.qos_profile)
            if fits == QoSCompatibility.ERROR:
                yield bad(
                    about, f"{who} ({qos}): {why.strip()}", "set image_reliability:=best_effort"
                )
                break
        else:
            yield ok(about, f"{who} ({qos})")


def check_clock(client: RosOperatorClient, camera: str, topics: CameraTopics) -> Finding:
    """Compare the stamp of a picture with the time of its coming."""
    about = f"clock of {camera}"
    came = threading.Event()
    skews_s: list[float] = []

    def on_frame(frame: Frame) -> None:
        if not came.is_set():
            skews_s.append((time.time_ns() - frame.stamp_ns) / _NS if frame.stamp_ns else 0.0)
            stamped.append(bool(frame.stamp_ns))
            came.set()

    stamped: list[bool] = []
    end = client.watch(camera, on_frame)
    came.wait(_FRAME_S)
    end()
    if not skews_s:
        return warn(
            about, f"no picture came on {topics.image} within {_FRAME_S:.0f} s",
            "look whether the camera publishes (ros2 topic hz), and at `large images` above",
        )  # fmt: skip
    if not stamped[0]:
        return warn(
            about, "the camera does not stamp its pictures",
            "detections and sessions need header.stamp: look at the camera's driver",
        )  # fmt: skip
    skew_s = skews_s[0]
    says = f"a picture's stamp is {abs(skew_s):.2f} s {'before' if skew_s > 0 else 'after'} now"
    if abs(skew_s) < _SKEW_S:
        return ok(about, says)
    remedy = (
        "with simulated time or a recording this is as it should be (use_sim_time:=true on the "
        "node); else let both computers take the time from one (chrony, PTP)"
    )
    return (bad if abs(skew_s) > _BAD_SKEW_S else warn)(about, says, remedy)


def _wait(condition: Callable[[], bool], timeout_s: float) -> None:
    until_s = time.monotonic() + timeout_s
    # The graph and a link have no event that this could wait for.
    while not condition() and time.monotonic() < until_s:
        time.sleep(0.05)
