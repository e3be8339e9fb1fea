"""The policy by SROS 2's own tool: it is valid, and what is signed allows what it says."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory

pytestmark = pytest.mark.ros_distro

POLICY = Path(get_package_share_directory("chatspot_ros")) / "config" / "sros2" / "policy.xml"
ENCLAVES = ("/chatspot/region_query_node", "/chatspot/detector_node", "/chatspot/planner")
# How ROS 2 names a topic, a request and a reply in DDS.
SAID = {"publish": "rt{}", "reply": "rr{}Reply", "request": "rq{}Request"}
HEARD = {"subscribe": "rt{}", "reply": "rq{}Request", "request": "rr{}Reply"}


def run(*command: str | Path) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=100.0, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("security") / "keystore"
    run("ros2", "security", "create_keystore", path)
    for enclave in ENCLAVES:
        run("ros2", "security", "create_enclave", path, enclave)
        run("ros2", "security", "create_permission", path, enclave, POLICY)
    return path


def in_dds(enclave: str, forms: dict[str, str]) -> set[str]:
    """The policy's topics and services by their names in DDS; actions are left out."""
    policy = xml.etree.ElementTree.parse(POLICY)
    (profile,) = policy.iterfind(f"enclaves/enclave[@path='{enclave}']/profiles/profile")
    return {
        forms[what].format((entry.text or "").strip())
        for group in profile
        for what in group.attrib
        if what in forms
        for entry in group
    }


@pytest.mark.parametrize("enclave", ENCLAVES)
def test_the_permissions_allow_what_the_policy_names(keystore: Path, enclave: str) -> None:
    folder = keystore / "enclaves" / enclave.removeprefix("/")
    # What DDS reads is the signed one.
    signed = run("openssl", "smime", "-verify", "-in", folder / "permissions.p7s",
                 "-CAfile", keystore / "public" / "permissions_ca.cert.pem")  # fmt: skip
    permissions = xml.etree.ElementTree.fromstring(signed.partition("\n\n")[2].strip())
    (grant,) = permissions.iter("grant")
    assert grant.findtext("default") == "DENY"
    assert grant.findtext("subject_name") == f"CN={enclave}"

    def allowed(what: str) -> set[str]:
        found = grant.iterfind(f"allow_rule/{what}/topics/topic")
        return {str(topic.text) for topic in found} - {"ros_discovery_info"}

    for what, forms in (("publish", SAID), ("subscribe", HEARD)):
        named = in_dds(enclave, forms)
        assert named
        beyond = allowed(what) - named
        assert named <= allowed(what)
        assert all("/ask_region/_action/" in topic for topic in beyond)
        assert bool(beyond) == (enclave == ENCLAVES[0])
