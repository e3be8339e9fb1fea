"""Start the simulated kitchen: a camera, and a detector that uses the ground truth.

ros2 launch chatspot_ros kitchen.launch.py seed:=5
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from chatspot_ros.ros.launch_arguments import (
    REQUIRED,
    argument_texts,
    end_launch_on_error,
    given_bool,
    given_parameters,
)
from chatspot_ros.ros.transports import LARGER_BUFFERS, VARIABLE
from chatspot_sim.kitchen_parameters import CAMERA_SPECS, DETECTOR_ARGUMENTS, DETECTOR_SPECS
from launch import LaunchContext, LaunchDescription

# name, default, description
ARGUMENTS = (
    ("seed", "52", "Which kitchen is drawn."),
    ("rate", "4.0", "Pictures per second."),
    ("with_detector", "true", "false: the camera alone."),
    ("namespace", "", "Of both nodes."),
    REQUIRED,
    # The parameters of the nodes, by their names; `detector_seed` is the detector's `seed`.
    *argument_texts(CAMERA_SPECS, without=["seed", "rate"]),
    *argument_texts(DETECTOR_ARGUMENTS),
)


def make_nodes(context: LaunchContext) -> list[Node]:
    """Build the nodes' actions from the arguments' values; an empty one leaves its default."""
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    on_exit = end_launch_on_error if given_bool("required", values["required"]) else None
    camera = given_parameters(CAMERA_SPECS, values)
    found = given_parameters(DETECTOR_ARGUMENTS, values)
    renamed = zip(DETECTOR_ARGUMENTS, DETECTOR_SPECS, strict=True)
    detector = {own.name: found[one.name] for one, own in renamed if one.name in found}
    buffers = {VARIABLE: EnvironmentVariable(VARIABLE, default_value=LARGER_BUFFERS)}
    programs = [("kitchen_camera", camera, buffers)]
    if given_bool("with_detector", values["with_detector"]):
        programs.append(("kitchen_detector", detector, {}))
    return [
        Node(
            package="chatspot_ros",
            executable=executable,
            namespace=values["namespace"],
            output="screen",
            additional_env=env,
            on_exit=on_exit,
            parameters=[
                {
                    # launch_ros would read YAML in a plain text: `7` would become a number.
                    name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
                    for name, value in parameters.items()
                }
            ],
        )
        for executable, parameters, env in programs
    ]


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and the two nodes."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_nodes)])
