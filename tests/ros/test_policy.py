"""config/sros2/policy.xml allows what the nodes do, and no more."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECLARED = str(Path(__file__).with_name("declared.py"))
# The parts of an action, as topics and services that a policy does not name one by one.
ACTION_PARTS = {
    "publish": ("feedback", "status"),
    "reply": ("send_goal", "cancel_goal", "get_result"),
}
# Subscribed with use_sim_time, with the other image_transport, or by those who watch parameters;
# with depth_images and target_frame.
DEPTH = {"/depth/image", "/depth/image/compressedDepth", "/depth/camera_info"}
SOMETIMES = {"/clock", "/parameter_events", "/image/compressed", "/tf", "/tf_static"} | DEPTH
# Published where foxglove_msgs is installed.
IF_INSTALLED = {"/region_query_node/annotations"}
Names = dict[str, set[str]]


def profile(root: Path, node: str) -> Names:
    """What the policy allows a node, by what it does: publish, subscribe, reply, request."""
    tree = xml.etree.ElementTree.parse(root / "config" / "sros2" / "policy.xml")
    (found,) = tree.iterfind(f"enclaves/enclave[@path='/chatspot/{node}']/profiles/profile")
    assert found.attrib == {"ns": "/", "node": node}
    allowed: Names = {"publish": set(), "subscribe": set(), "reply": set(), "request": set()}
    for group in found:
        ((what, verdict),) = group.attrib.items()
        assert verdict == "ALLOW"
        for entry in group:
            name = (entry.text or "").strip()
            assert name.startswith("/"), name
            assert entry.tag == group.tag.removesuffix("s")
            if group.tag == "actions":
                assert what == "execute"
                for kind, parts in ACTION_PARTS.items():
                    allowed[kind] |= {f"{name}/_action/{part}" for part in parts}
            else:
                allowed[what].add(name)
    return allowed


def assert_allowed_and_no_more(allowed: Names, declared: Names) -> None:
    for what in ("publish", "reply", "request"):
        assert declared[what] | (allowed[what] & IF_INSTALLED) == allowed[what]
    assert declared["subscribe"] <= allowed["subscribe"]
    assert allowed["subscribe"] - declared["subscribe"] <= SOMETIMES


@pytest.mark.parametrize(
    ("node", "module", "kind"),
    [
        ("detector_node", "chatspot_ros.detector_node", "DetectorNode"),
        ("planner", str(ROOT / "examples" / "planner.py"), "Robot"),
    ],
)
def test_a_node_may_do_what_it_declares_and_no_more(
    root: Path, spawn: Callable[..., Any], node: str, module: str, kind: str
) -> None:
    process = spawn(sys.executable, DECLARED, module, kind)
    line = process.wait_for("declared: ")
    declared = {what: set(names) for what, names in json.loads(line.partition(": ")[2]).items()}
    assert_allowed_and_no_more(profile(root, node), declared)


def test_the_node_may_do_what_it_does_when_it_is_active_and_no_more(
    root: Path, fake: Any, ros_node: Any
) -> None:
    """Seen from outside: what is subscribed only while it is active is among it."""
    own = ("region_query_node", "/")
    allowed = profile(root, own[0])

    def declared() -> Names:
        found = {
            "publish": ros_node.get_publisher_names_and_types_by_node(*own),
            "subscribe": ros_node.get_subscriber_names_and_types_by_node(*own),
            "reply": ros_node.get_service_names_and_types_by_node(*own),
            "request": ros_node.get_client_names_and_types_by_node(*own),
        }
        return {what: {name for name, _ in entries} for what, entries in found.items()}

    wanted = {
        **allowed,
        "publish": allowed["publish"] - IF_INSTALLED,
        "subscribe": {"/image", "/detections", "/click"},
    }

    def is_discovered() -> bool:
        found = declared()
        return all(found[what] >= names for what, names in wanted.items())

    fake.wait_until(lambda: own in ros_node.get_node_names_and_namespaces())
    fake.wait_until(is_discovered)
    assert_allowed_and_no_more(allowed, declared())


def test_every_profile_is_one_of_the_tested(root: Path) -> None:
    tree = xml.etree.ElementTree.parse(root / "config" / "sros2" / "policy.xml")
    assert tree.getroot().attrib == {"version": "0.2.0"}
    nodes = [found.attrib["node"] for found in tree.iter("profile")]
    assert nodes == ["region_query_node", "detector_node", "planner"]
