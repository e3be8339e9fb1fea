"""Start region_query_node behind a camera and a detector.

ros2 launch chatspot_ros region_query.launch.py camera_topic:=/camera/image_raw
detections_topic:=/detections

With depth: depth_images:=raw depth_topic:=/camera/aligned_depth_to_color/image_raw
Several cameras: cameras:="front=/front/image_raw,/front/detections rear=/rear/image_raw"
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
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
from chatspot_ros.server.settings import SPECS
from launch import LaunchContext, LaunchDescription

SHARE = Path(get_package_share_directory("chatspot_ros"))

# name, default, description
ARGUMENTS = (
    ("camera_topic", "image", "Topic of the camera's images, without the transport's suffix."),
    ("detections_topic", "detections", "Topic of the detector's vision_msgs/Detection2DArray."),
    (
        "click_topic",
        "",
        "Topic of clicked points; empty: rqt_image_view's for camera_topic and image_transport.",
    ),
    (
        "depth_topic",
        "depth/image",
        "Topic of the depth aligned to the images, without the transport's suffix (depth_images).",
    ),
    (
        "depth_info_topic",
        "",
        "Topic of the depth's CameraInfo; empty: camera_info beside depth_topic.",
    ),
    (
        "cameras",
        "",
        "Several cameras in place of the five topics above: NAME=IMAGE_TOPIC, also with "
        ",DETECTIONS_TOPIC and ,DEPTH_TOPIC behind it; blanks between cameras.",
    ),
    ("params_file", "", "Parameters of the node; empty: the package's config/region_query.yaml."),
    (
        "namespace",
        "",
        "Namespace of the node; the topics above move with it unless they begin with /.",
    ),
    ("use_sim_time", "", "true: take the time from /clock; empty: as the parameter file says."),
    ("log_level", "info", "debug, info, warn or error."),
    REQUIRED,
    ("enclave", "", "SROS 2 enclave of the node, such as /chatspot/region_query_node."),
    # All other parameters of the node, by their names.
    *argument_texts(SPECS, without=["cameras"]),
)


def name_click_topic(image_topic: str, transport: str) -> str:
    """Return where rqt_image_view publishes a click in the picture of a topic."""
    seen = f"{image_topic}/compressed" if transport == "compressed" else image_topic
    return f"{seen}_mouse_left"


def name_info_topic(image_topic: str) -> str:
    """Return where a camera's driver publishes the CameraInfo of an image topic."""
    folder, slash, _ = image_topic.rpartition("/")
    return f"{folder}{slash}camera_info"


def read_cameras(text: str, transport: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the cameras' names and the remappings of their topics."""
    names, remappings = [], []
    for camera in text.split():
        name, _, topics = camera.partition("=")
        image, detections, depth, *more = [*topics.split(","), "", ""]
        if not name or not image or any(more):
            raise ValueError(f"cameras: write NAME=IMAGE_TOPIC, not {camera!r}")
        names.append(name)
        remappings.append((f"{name}/image", image))
        remappings.append((f"{name}/click", name_click_topic(image, transport)))
        if detections:
            remappings.append((f"{name}/detections", detections))
        if depth:
            remappings.append((f"{name}/depth/image", depth))
            remappings.append((f"{name}/depth/camera_info", name_info_topic(depth)))
    if len(names) == 1:
        # A single camera's topics have no name before them.
        remappings = [(topic.partition("/")[2], target) for topic, target in remappings]
    return names, remappings


def make_node(context: LaunchContext) -> list[Node]:
    """Build the node's action from the arguments' values."""
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    params_file = Path(values["params_file"] or SHARE / "config" / "region_query.yaml").expanduser()
    if not params_file.is_file():  # launch_ros would only warn, and take the defaults
        raise RuntimeError(f"params_file:={params_file} is no file")
    # An empty argument leaves what the parameter file says.
    overrides = given_parameters([spec for spec in SPECS if spec.name != "cameras"], values)
    if values["use_sim_time"]:
        overrides["use_sim_time"] = given_bool("use_sim_time", values["use_sim_time"])
    transport = values["image_transport"]
    remappings = [
        ("image", values["camera_topic"]),
        ("detections", values["detections_topic"]),
        ("click", values["click_topic"] or name_click_topic(values["camera_topic"], transport)),
        ("depth/image", values["depth_topic"]),
        (
            "depth/camera_info",
            values["depth_info_topic"] or name_info_topic(values["depth_topic"]),
        ),
    ]
    if values["cameras"]:
        overrides["cameras"], remappings = read_cameras(values["cameras"], transport)
    # launch_ros would read YAML in a plain text: `off` would become a boolean.
    parameters = {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in overrides.items()
    }
    enclave = ["--enclave", values["enclave"]] if values["enclave"] else []
    return [
        Node(
            package="chatspot_ros",
            executable="region_query_node",
            name="region_query_node",
            namespace=values["namespace"],
            output="screen",
            # For the annotated picture.
            additional_env={VARIABLE: EnvironmentVariable(VARIABLE, default_value=LARGER_BUFFERS)},
            parameters=[str(params_file), parameters],
            remappings=remappings,
            on_exit=end_launch_on_error if given_bool("required", values["required"]) else None,
            ros_arguments=["--log-level", values["log_level"], *enclave],
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and the node."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, text in ARGUMENTS
            ),
            OpaqueFunction(function=make_node),
        ]
    )
