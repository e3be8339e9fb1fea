"""Start a camera that reads files: a picture, a folder of pictures, or a video.

ros2 launch chatspot_ros files.launch.py path:=$HOME/pictures
"""

from launch.actions import DeclareLaunchArgument
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from chatspot_ros.ros.transports import LARGER_BUFFERS, VARIABLE
from launch import LaunchDescription

# name, default, type of the parameter, description
PARAMETERS = (
    ("path", "", str, "A picture, a folder of pictures, or a video. Must be given."),
    ("rate", "5.0", float, "Pictures per second."),
    ("loop", "true", bool, "false: end after the last picture."),
)


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and the node."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, _, text in PARAMETERS
            ),
            DeclareLaunchArgument(
                "camera_topic", default_value="image", description="Topic of the images."
            ),
            DeclareLaunchArgument("namespace", default_value="", description="Of the node."),
            Node(
                package="chatspot_ros",
                executable="file_camera",
                namespace=LaunchConfiguration("namespace"),
                output="screen",
                additional_env={
                    VARIABLE: EnvironmentVariable(VARIABLE, default_value=LARGER_BUFFERS)
                },
                parameters=[
                    {
                        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                        for name, _, kind, _ in PARAMETERS
                    }
                ],
                remappings=[("image", LaunchConfiguration("camera_topic"))],
            ),
        ]
    )
