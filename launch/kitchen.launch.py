"""Start the simulated kitchen: a camera, and a detector that uses the ground truth.

ros2 launch chatspot_ros kitchen.launch.py seed:=5
"""

from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from chatspot_ros.ros.transports import LARGER_BUFFERS, VARIABLE
from launch import LaunchDescription

# name, default, type of the parameter, description
CAMERA = (
    ("seed", "52", int, "Which kitchen is drawn."),
    ("width", "640", int, "Width of the picture in pixels."),
    ("height", "480", int, "Height of the picture in pixels."),
    ("rate", "4.0", float, "Pictures per second."),
    ("life_period_s", "0.0", float, "Something changes by itself so often, in s; 0: nothing."),
)


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and the two nodes."""
    values = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, _, kind, _ in CAMERA
    }
    namespace = LaunchConfiguration("namespace")
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, _, text in CAMERA
            ),
            DeclareLaunchArgument(
                "with_detector", default_value="true", description="false: the camera alone."
            ),
            DeclareLaunchArgument("namespace", default_value="", description="Of both nodes."),
            Node(
                package="chatspot_ros",
                executable="kitchen_camera",
                namespace=namespace,
                output="screen",
                additional_env={
                    VARIABLE: EnvironmentVariable(VARIABLE, default_value=LARGER_BUFFERS)
                },
                parameters=[values],
            ),
            Node(
                package="chatspot_ros",
                executable="kitchen_detector",
                namespace=namespace,
                output="screen",
                condition=IfCondition(LaunchConfiguration("with_detector")),
            ),
        ]
    )
