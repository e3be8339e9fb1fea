"""Start detector_node: any transformers object detector behind a camera.

ros2 launch chatspot_ros detector.launch.py model:=PekingU/rtdetr_r18vd allow_download:=true
camera_topic:=/camera/image_raw
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

# name, default, type of the parameter, description
PARAMETERS = (
    ("model", "", str, "Folder or hub id of the detector. Must be given."),
    ("allow_download", "false", bool, "true: fetch a hub id that is not in the local cache."),
    ("device", "auto", str, "auto, cpu, cuda, cuda:1, ..."),
    ("labels", "", str, "What a zero-shot detector looks for: 'mug, fridge door'."),
    ("threshold", "0.3", float, "What scores less is not published."),
    ("image_transport", "raw", str, "raw or compressed."),
    ("image_reliability", "best_effort", str, "best_effort or reliable, as the camera is."),
    ("use_sim_time", "", bool, "true: take the time from /clock; empty: as is set for all nodes."),
)
OTHERS = (
    ("camera_topic", "image", "Topic of the camera's images, without the transport's suffix."),
    ("detections_topic", "detections", "Topic of the detections."),
    ("namespace", "", "Namespace of the node; relative topics move with it."),
)


def make_node(context: LaunchContext) -> list[Node]:
    """Build the node's action from the arguments' values; an empty one leaves its default."""
    given = {name: LaunchConfiguration(name) for name, *_ in PARAMETERS}
    return [
        Node(
            package="chatspot_ros",
            executable="detector_node",
            namespace=LaunchConfiguration("namespace"),
            output="screen",
            parameters=[
                {
                    name: ParameterValue(given[name], value_type=kind)
                    for name, _, kind, _ in PARAMETERS
                    if given[name].perform(context)
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
        for name, default, text in (
            *((name, default, text) for name, default, _, text in PARAMETERS),
            *OTHERS,
        )
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_node)])
