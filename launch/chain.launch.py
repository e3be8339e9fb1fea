"""Start the whole chain: pictures, a detector, the node, and windows to look at it.

ros2 launch chatspot_ros chain.launch.py                                       the simulated kitchen
ros2 launch chatspot_ros chain.launch.py source:=camera camera_topic:=/camera/image_raw
    detector:=model detector_model:=PekingU/rtdetr_r18vd rqt:=true
ros2 launch chatspot_ros chain.launch.py source:=files path:=$HOME/pictures detector:=none
ros2 launch chatspot_ros chain.launch.py source:=bag path:=$HOME/drive camera_topic:=/camera/image

Each part is a launch file that also stands alone: kitchen, files, detector, region_query.
From XML: <include file="$(find-pkg-share chatspot_ros)/launch/chain.launch.py"/>, with <arg>s.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import Action, LaunchContext, LaunchDescription

LAUNCH = Path(get_package_share_directory("chatspot_ros")) / "launch"
NODE = "region_query_node"

# name, default, choices (none: any), description
ARGUMENTS = (
    ("source", "kitchen", ("kitchen", "camera", "files", "bag"),
     "Where pictures come from: the simulated kitchen, a camera that runs already, files (a "
     "picture, a folder, a video), or a bag."),
    ("path", "", (), "The files, or the bag's folder."),
    ("camera_topic", "image", (), "Topic of the pictures, without the transport's suffix."),
    ("image_transport", "raw", ("raw", "compressed"), "How the camera or the bag has them."),
    ("detector", "", ("", "kitchen", "model", "topic", "none"),
     "What detects: the kitchen's own, a model (detector_model), one that runs already "
     "(detections_topic), or nothing. Empty: the kitchen's own in the kitchen, else nothing."),
    ("detector_model", "", (), "Folder or hub id of the detector."),
    ("detector_labels", "", (), "What a zero-shot detector looks for: 'mug, fridge door'."),
    ("detections_topic", "detections", (), "Topic of the detections."),
    ("model", "", (), "Model that answers; empty: as the parameter file says."),
    ("params_file", "", (), "Parameters of region_query_node; empty: the package's own file."),
    ("seed", "52", (), "Which kitchen is drawn."),
    ("rate", "4.0", (), "Pictures per second, of the kitchen and of files."),
    ("rqt", "false", ("true", "false"), "Open rqt_image_view on the annotated picture."),
    ("use_sim_time", "", ("", "true", "false"), "Empty: true with a bag, whose clock is played."),
    ("log_level", "info", (), "Of region_query_node: debug, info, warn or error."),
)  # fmt: skip


def include(name: str, **arguments: str) -> GroupAction:
    """Include a launch file of this package, with these arguments and no others.

    Without a scope of its own it would see this file's `model`, and leave its own to the next.
    """
    source = PythonLaunchDescriptionSource(str(LAUNCH / f"{name}.launch.py"))
    part = IncludeLaunchDescription(source, launch_arguments=list(arguments.items()))
    return GroupAction([part], scoped=True, forwarding=False)


def make_source(values: dict[str, str], detector: str) -> list[Action]:
    """Describe where the pictures come from."""
    if values["source"] == "kitchen":
        with_detector = "true" if detector == "kitchen" else "false"
        return [include("kitchen", seed=values["seed"], rate=values["rate"],
                        with_detector=with_detector)]  # fmt: skip
    if values["source"] == "files":
        return [include("files", path=values["path"], rate=values["rate"],
                        camera_topic=values["camera_topic"])]  # fmt: skip
    if values["source"] == "bag":
        play = ["ros2", "bag", "play", values["path"], "--clock", "100"]
        return [ExecuteProcess(cmd=play, output="screen")]
    return []


def make_chain(context: LaunchContext) -> list[Action]:
    """Choose the parts by the arguments' values. Raises RuntimeError where they do not fit."""
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    in_kitchen = values["source"] == "kitchen"
    detector = values["detector"] or ("kitchen" if in_kitchen else "none")
    if detector == "kitchen" and not in_kitchen:
        raise RuntimeError("detector:=kitchen goes with source:=kitchen only")
    if detector == "model" and not values["detector_model"]:
        raise RuntimeError("detector:=model needs detector_model:=FOLDER_OR_HUB_ID")
    if values["source"] in ("files", "bag") and not values["path"]:
        raise RuntimeError(f"source:={values['source']} needs path:=PATH")
    # The kitchen publishes `image`, whatever a camera would.
    camera_topic = "image" if in_kitchen else values["camera_topic"]
    transport = "raw" if values["source"] in ("kitchen", "files") else values["image_transport"]
    sim_time = values["use_sim_time"] or ("true" if values["source"] == "bag" else "false")
    asked = {"model": values["model"], "params_file": values["params_file"]}
    parts = make_source(values, detector)
    if detector == "model":
        parts.append(
            include(
                "detector",
                model=values["detector_model"],
                labels=values["detector_labels"],
                camera_topic=camera_topic,
                detections_topic=values["detections_topic"],
                image_transport=transport,
                use_sim_time=sim_time,
            )
        )
    parts.append(
        include(
            "region_query",
            camera_topic=camera_topic,
            detections_topic=values["detections_topic"],
            image_transport=transport,
            use_sim_time=sim_time,
            log_level=values["log_level"],
            # An empty argument leaves the included file's own default.
            **{name: value for name, value in asked.items() if value},
        )
    )
    if values["rqt"] == "true":
        topic = f"/{NODE}/annotated"
        parts.append(Node(package="rqt_image_view", executable="rqt_image_view", arguments=[topic]))
    return parts


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and the chain."""
    declared = [
        DeclareLaunchArgument(
            name, default_value=default, description=text, choices=list(choices) or None
        )
        for name, default, choices, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_chain)])
