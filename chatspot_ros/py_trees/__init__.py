"""Behaviours for py_trees that ask the region query node, and never block a tick.

The library py_trees is not needed for anything else: `pip install 'py_trees>=2.3,<3'`, or the
distribution's package ros-<distro>-py-trees.
"""

try:
    import py_trees as _library  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "chatspot_ros.py_trees needs the library py_trees: pip install 'py_trees>=2.3,<3', or "
        "apt install ros-$ROS_DISTRO-py-trees",
        name=error.name,
    ) from error

from chatspot_ros.py_trees.ask_region import AskRegion, AskSource
from chatspot_ros.py_trees.check_state import CheckState
from chatspot_ros.py_trees.fetch_plan import FetchPlan

__all__ = ["AskRegion", "AskSource", "CheckState", "FetchPlan"]
