"""Start detector_node: any transformers object detector behind a camera.

ros2 launch chatspot_ros detector.launch.py model:=PekingU/rtdetr_r18vd allow_download:=true
camera_topic:=/camera/image_raw
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from chatspot_ros.detector.settings import SPECS
from chatspot_ros.ros.launch_arguments import (
    REQUIRED,
    argument_texts,
    end_launch_on_error,
    given_bool,
    given_parameters,
)
from launch import LaunchContext, LaunchDescription

# name, default, description
ARGUMENTS = (
    ("camera_topic", "image", "Topic of the camera's images, without the transport's suffix."),
    ("detections_topic", "detections", "Topic of the detections."),
    ("namespace", "", "Namespace of the node; relative topics move with it."),
    ("use_sim_time", "", "true: take the time from /clock; empty: as is set for all nodes."),
    REQUIRED,
    # The parameters of the node, by their names.
    *argument_texts(SPECS),
)


def make_node(context: LaunchContext) -> list[Node]:
    """Build the node's action from the arguments' values; an empty one leaves its default."""
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    overrides = given_parameters(SPECS, values)
    if values["use_sim_time"]:
        overrides["use_sim_time"] = given_bool("use_sim_time", values["use_sim_time"])
    return [
        Node(
            package="chatspot_ros",
            executable="detector_node",
            namespace=LaunchConfiguration("namespace"),
            output="screen",
            on_exit=end_launch_on_error if given_bool("required", values["required"]) else None,
            parameters=[
                {
                    # launch_ros would read YAML in a plain text: `no` would become a boolean.
                    name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
                    for name, value in overrides.items()
                }
            ],
            remappings=[
                # A compressed camera's topic follows: it is looked for below this one.
                ("image", LaunchConfiguration("camera_topic")),
                ("detections", LaunchConfiguration("detections_topic")),
            ],
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and the node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_node)])
