"""Run the demo: twelve questions about a simulated kitchen, asked, answered and judged.

ros2 launch chatspot_ros demo.launch.py seed:=5 picture:=/tmp/demo.png

It starts its nodes itself, on a ROS domain of its own unless ROS_DOMAIN_ID is set, and ends with
them; its table comes on the screen, and the launch ends with status 1 if it failed. To go on asking
in the kitchen, use chain.launch.py.
"""

from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration

from launch import Action, LaunchContext, LaunchDescription

# name, default, description
ARGUMENTS = (
    ("seed", "", "Draws another kitchen than the demo's own."),
    ("model", "chatspot-tiny", "Checkpoint: a folder, a bundled name or a hub id."),
    ("picture", "demo.png", "Where the picture is saved."),
    ("json", "", "Also write the answers there."),
)


def end_launch(event: Any, context: LaunchContext) -> Shutdown | None:
    """Return the launch's end, at the demo's; raise RuntimeError if it failed: status 1."""
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f"the demo ended with status {event.returncode}, see its last lines")
    return Shutdown(reason="the demo has ended")


def make_demo(context: LaunchContext) -> list[Action]:
    """Build the demo's command from the arguments' values."""
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    for name in ("picture", "json"):
        values[name] = values[name] and str(Path(values[name]).expanduser())
    given = [part for name, value in values.items() if value for part in (f"--{name}", value)]
    return [
        ExecuteProcess(
            # By the name on the PATH: in a virtual environment that is its own Python.
            cmd=["python3", "-m", "chatspot_sim.demo", *given],
            # Started in the sources, chatspot_ros/ there must not hide the installed package.
            additional_env={"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"},
            output="screen",
            on_exit=end_launch,
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and the demo."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_demo)])
