"""Make a node, and print what it publishes, subscribes, offers and asks for: run me as a program.

declared.py FILE_OR_MODULE CLASS [ros arguments]
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from typing import Any

import rclpy

from chatspot_ros.ros.run_node import Stop

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "DetectorNode": (Stop(),),
    "Robot": (1.0,),
}


def load(name: str) -> Any:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location("declared_example", name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    rclpy.init(args=sys.argv)
    node = getattr(load(sys.argv[1]), sys.argv[2])(*ARGUMENTS[sys.argv[2]])
    own = (node.get_name(), node.get_namespace())
    # Events of a middleware's own (such as type descriptions) are no interfaces of ours.
    found = {
        "publish": node.get_publisher_names_and_types_by_node(*own),
        "subscribe": node.get_subscriber_names_and_types_by_node(*own),
        "reply": node.get_service_names_and_types_by_node(*own),
        "request": node.get_client_names_and_types_by_node(*own),
    }
    names = {what: sorted(name for name, _ in entries) for what, entries in found.items()}
    print("declared: " + json.dumps(names), flush=True)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
