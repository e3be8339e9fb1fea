"""Start a camera that reads files: a picture, a folder of pictures, or a video.

ros2 launch chatspot_ros files.launch.py path:=$HOME/pictures
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from chatspot_ros.file_camera_node import SPECS
from chatspot_ros.ros.launch_arguments import (
    REQUIRED,
    argument_texts,
    end_launch_on_error,
    given_bool,
    given_parameters,
)
from chatspot_ros.ros.transports import LARGER_BUFFERS, VARIABLE
from launch import LaunchContext, LaunchDescription

# name, default, description
ARGUMENTS = (
    ("camera_topic", "image", "Topic of the images."),
    ("namespace", "", "Of the node."),
    REQUIRED,
    # The parameters of the node, by their names.
    *argument_texts(SPECS),
)


def make_node(context: LaunchContext) -> list[Node]:
    """Build the node's action from the arguments' values."""
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    return [
        Node(
            package="chatspot_ros",
            executable="file_camera",
            namespace=values["namespace"],
            output="screen",
            on_exit=end_launch_on_error if given_bool("required", values["required"]) else None,
            additional_env={VARIABLE: EnvironmentVariable(VARIABLE, default_value=LARGER_BUFFERS)},
            parameters=[
                {
                    # launch_ros would read YAML in a plain text: `7` would become a number.
                    name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
                    for name, value in given_parameters(SPECS, values).items()
                }
            ],
            remappings=[("image", values["camera_topic"])],
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and the node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_node)])
