"""Time that the node adds to the model's: `python -m benchmarks.ros_latency --json FILE`.

Each figure compares two sides in one run, between real processes: the service with an echo service
of the same type, the node's processor time for a 1080p frame with that of a subscriber that does
nothing; and the time of a parameter get while queries keep the model busy.

The two echo services are nodes with rclpy's default executor. They get the same request and reply
with one answer about its region: one at once (`overhead_over_echo`), one after the engine's time
(`overhead_over_late_echo`), because a process that slept so long wakes to cold caches. There are
two, so that each has slept as long as the node since its last request. All processes allocate
memory in the same way (MEMORY): glibc's default sometimes gives a subscriber to 1080p images new
pages for every frame, which costs four times the frame itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from builtin_interfaces.msg import Duration
from chatspot_ros.msg import RegionAnswer
from chatspot_ros.srv import RegionQuery
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from chatspot_ros.core.regions import Region
from chatspot_ros.ros.conversions import to_image_message, to_region_message
from chatspot_ros.util.atomic_write import write_whole
from chatspot_sim.processes import NodeProcesses, installed

CALLS = 300
FRAMES = 150
# Processor time has steps of 10 ms, two frames of a bare subscriber.
LEAST_FRAMES = 20
GETS = 500
FULL_HD = (1920, 1080)
SMALL = (320, 240)
FRAMES_PER_S = 10
PATIENCE_S = 60.0
# The default 256 MB hold 41 frames of 1080p.
SETTLING_S = 6.0
NODE = "region_query_node"
ECHO, LATE_ECHO = "echo", "late_echo"
# One arena that keeps freed memory: chatspot_ros.util.process_memory then changes nothing.
MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}


# --- the other processes --------------------------------------------------------------------------


def echo(name: str) -> None:
    """Serve the node's service type: reply with one answer about the first region.

    Reply at once, or after the request's `timeout`; then report the time, as the node does.
    """
    node = Node(name)

    def reply(request: Any, response: Any) -> Any:
        began = time.perf_counter()
        wait_s = request.timeout.sec + request.timeout.nanosec / 1e9
        if wait_s:
            time.sleep(wait_s)
        response.answers = [RegionAnswer(regions=request.regions[:1], text="a red mug")]
        response.answering_s = time.perf_counter() - began if wait_s else 0.0
        return response

    node.create_service(RegionQuery, name, reply)
    print(f"ready: {name}", flush=True)
    rclpy.spin(node)


def bare() -> None:
    """Subscribe to the camera and do nothing."""
    node = Node("bare")
    node.create_subscription(Image, "image", lambda _: None, qos_profile_sensor_data)
    print("ready: bare", flush=True)
    rclpy.spin(node)


def camera() -> None:
    """Publish frames of noise at a steady rate."""
    node = Node("camera")
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (FULL_HD[1], FULL_HD[0], 3), dtype=np.uint8)
    message = to_image_message(rgb, Header(frame_id="camera"))
    publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)

    def publish() -> None:
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)

    node.create_timer(1 / FRAMES_PER_S, publish)
    print("ready: camera", flush=True)
    rclpy.spin(node)


def asker() -> None:
    """Ask the node about eight regions of one picture, without end."""
    client = Client("asker")
    client.send_picture()
    regions = [Region.box(10 * k, 10, 10 * k + 80, 200) for k in range(8)]
    print("ready: asker", flush=True)
    while True:
        client.ask(regions, stamp=client.stamp)


ROLES: dict[str, Callable[[], None]] = {
    ECHO: partial(echo, ECHO),
    LATE_ECHO: partial(echo, LATE_ECHO),
    "bare": bare,
    "camera": camera,
    "asker": asker,
}


# --- the client -----------------------------------------------------------------------------------


class Client:
    """A client that waits by spinning in the calling thread."""

    def __init__(self, name: str) -> None:
        self.node = Node(name)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.query = self.node.create_client(RegionQuery, f"{NODE}/region_query")
        self.echo = self.node.create_client(RegionQuery, ECHO)
        self.late_echo = self.node.create_client(RegionQuery, LATE_ECHO)
        self.parameters = self.node.create_client(GetParameters, f"{NODE}/get_parameters")
        self.images = self.node.create_publisher(Image, "image", qos_profile_sensor_data)
        self.stamp: Any = None

    def call(self, client: Any, request: Any) -> tuple[float, Any]:
        """Return the seconds until the reply, and the reply. Raises TimeoutError."""
        began = time.perf_counter()
        future = client.call_async(request)
        self.executor.spin_until_future_complete(future, PATIENCE_S)
        if not future.done():
            client.remove_pending_request(future)
            raise TimeoutError(f"no reply from {client.srv_name} within {PATIENCE_S:.0f} s")
        return time.perf_counter() - began, future.result()

    def ask(self, regions: list[Region], **fields: Any) -> tuple[float, Any]:
        """Ask the node about the regions."""
        return self.call(self.query, self.request(regions, **fields))

    def request(self, regions: list[Region], **fields: Any) -> Any:
        """Return a request about the regions."""
        found = [to_region_message(region) for region in regions]
        return RegionQuery.Request(question="What is this?", regions=found, **fields)

    def send_picture(self) -> None:
        """Publish a small picture until the node has it, and keep its stamp."""
        for client in (self.query, self.parameters):
            if not client.wait_for_service(PATIENCE_S):
                raise TimeoutError(f"{client.srv_name} is not offered")
        rng = np.random.default_rng(1)
        rgb = rng.integers(0, 256, (SMALL[1], SMALL[0], 3), dtype=np.uint8)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            self.stamp = self.node.get_clock().now().to_msg()
            self.images.publish(to_image_message(rgb, Header(stamp=self.stamp, frame_id="small")))
            future = self.query.call_async(self.request([], stamp=self.stamp))
            self.executor.spin_until_future_complete(future, 5.0)
            if future.done() and future.result().status == RegionQuery.Response.OK:
                return
        raise TimeoutError("the node never got the picture")


# --- measurements ---------------------------------------------------------------------------------


def overhead(client: Client, calls: int) -> tuple[list[float], list[float], list[float]]:
    """Return the seconds of each query without the engine's, of each echo, of each late echo.

    Measured in turns. The late echo waits for the engine's time, which is subtracted, too.
    """
    for service in (client.echo, client.late_echo):
        if not service.wait_for_service(PATIENCE_S):
            raise TimeoutError(f"{service.srv_name} is not offered")
    regions = [Region.box(20, 20, 120, 200)]
    ours: list[float] = []
    echoes: list[float] = []
    late: list[float] = []
    for _ in range(calls):
        seconds, reply = client.ask(regions, stamp=client.stamp)
        ours.append(seconds - reply.seeing_s - reply.answering_s)
        echoes.append(client.call(client.echo, client.request(regions, stamp=client.stamp))[0])
        engine_s = reply.seeing_s + reply.answering_s
        wait = Duration(sec=int(engine_s), nanosec=int(engine_s % 1 * 1e9))
        request = client.request(regions, stamp=client.stamp, timeout=wait)
        seconds, reply = client.call(client.late_echo, request)
        late.append(seconds - reply.answering_s)
    return ours[calls // 10 :], echoes[calls // 10 :], late[calls // 10 :]


def processor_s(pid: int) -> float:
    """Return the processor time of a process: user and system."""
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def frame_cost(pids: list[int], frames: int) -> list[float]:
    """Return the processor seconds of each process per frame of a running camera."""
    time.sleep(SETTLING_S)  # discovery, and the node's ring of frames; the camera has its own clock
    before = [processor_s(pid) for pid in pids]
    time.sleep(frames / FRAMES_PER_S)
    return [(processor_s(pid) - b) / frames for pid, b in zip(pids, before, strict=True)]


def parameter_gets(client: Client, count: int) -> list[float]:
    """Return the seconds of each parameter get."""
    request = GetParameters.Request(names=["model"])
    return [client.call(client.parameters, request)[0] for _ in range(count)]


def measure(calls: int, frames: int, gets: int) -> dict[str, Any]:
    """Return all rows. Raises TimeoutError, chatspot_sim.processes.ProcessError."""
    os.environ.update(MEMORY)
    program = (sys.executable, "-m", "benchmarks.ros_latency", "--role")
    with tempfile.TemporaryDirectory() as logs, NodeProcesses(Path(logs)) as processes:

        def start(role: str, *command: str) -> int:
            process = processes.start(role, command or (*program, role))
            process.wait_ready(120.0)
            return process.pid

        node = start(NODE, *installed(NODE))
        start(ECHO)
        start(LATE_ECHO)
        client = Client("ros_latency")
        client.send_picture()
        ours, echoes, late = overhead(client, calls)
        start("asker")
        parameter_gets(client, gets // 10)
        waits = parameter_gets(client, gets)
    with tempfile.TemporaryDirectory() as logs, NodeProcesses(Path(logs)) as processes:
        node, bare_pid = start(NODE, *installed(NODE)), start("bare")
        start("camera")
        with_node, with_bare = frame_cost([node, bare_pid], frames)
    ours_s, echo_s, late_s = (statistics.median(one) for one in (ours, echoes, late))
    p99 = statistics.quantiles(waits, n=100)[98]
    return {
        "overhead_over_echo": {
            "value": ours_s / echo_s, "ours_s": ours_s, "echo_s": echo_s, "n": len(ours),
        },
        "overhead_over_late_echo": {
            "value": ours_s / late_s, "ours_s": ours_s, "echo_s": late_s, "n": len(ours),
        },
        "frame_cpu_over_bare_subscriber": {
            "value": with_node / with_bare, "ours_s": with_node, "bare_s": with_bare, "n": frames,
        },
        "parameter_get_p99_busy_s": {
            "value": p99, "median_s": statistics.median(waits), "n": len(waits),
        },
    }  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure what the node adds to the model's time.")
    parser.add_argument("--json", type=Path, help="also write the rows there")
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--gets", type=int, default=GETS)
    parser.add_argument("--role", choices=sorted(ROLES), help=argparse.SUPPRESS)
    options, ros_arguments = parser.parse_known_args()
    if options.frames < LEAST_FRAMES:
        parser.error(f"--frames {options.frames}: {LEAST_FRAMES} at least")
    rclpy.init(args=ros_arguments)
    if options.role:
        ROLES[options.role]()
        return
    rows = measure(options.calls, options.frames, options.gets)
    for key, row in rows.items():
        rest = ", ".join(f"{name} {value:.5g}" for name, value in row.items() if name != "value")
        print(f"{key:32s} {row['value']:8.4f}   ({rest})")
    if options.json:
        write_whole(options.json, json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
