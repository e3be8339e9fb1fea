"""Start the whole chain: pictures, a detector, the node, and windows to look at it.

ros2 launch chatspot_ros chain.launch.py                                       the simulated kitchen
ros2 launch chatspot_ros chain.launch.py source:=camera camera_topic:=/camera/image_raw
    detector:=model detector_model:=PekingU/rtdetr_r18vd rqt:=true
ros2 launch chatspot_ros chain.launch.py source:=files path:=$HOME/pictures detector:=none
ros2 launch chatspot_ros chain.launch.py source:=bag path:=$HOME/drive camera_topic:=/camera/image

Each part is a launch file that also stands alone: kitchen, files, detector, region_query.
Their arguments that are not listed here, all parameters of the nodes among them, go through:
device:=cuda (to region_query_node and detector_node), max_regions:=8, autostart:=false.
From XML: <include file="$(find-pkg-share chatspot_ros)/launch/chain.launch.py"/>, with <arg>s.
"""

from pathlib import Path

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessIO
from launch.events.process import ProcessIO
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

from chatspot_ros.detector.settings import SPECS as DETECTOR_SPECS
from chatspot_ros.file_camera_node import SPECS as FILES_SPECS
from chatspot_ros.ros.launch_arguments import (
    REQUIRED,
    end_launch_on_error,
    given_bool,
    given_parameters,
    given_path,
)
from chatspot_ros.ros.transports import LARGER_BUFFERS, VARIABLE
from chatspot_ros.server.settings import SPECS
from chatspot_sim.kitchen_parameters import CAMERA_SPECS, DETECTOR_ARGUMENTS
from launch import Action, LaunchContext, LaunchDescription

LAUNCH = Path(get_package_share_directory("chatspot_ros")) / "launch"
NODE = "region_query_node"
# The parameters of each part's nodes, among its arguments.
PARAMETERS = {
    "region_query": tuple(spec for spec in SPECS if spec.name != "cameras"),
    "kitchen": (*CAMERA_SPECS, *DETECTOR_ARGUMENTS),
    "files": FILES_SPECS,
    "detector": DETECTOR_SPECS,
}

# name, default, choices (none: any), description
ARGUMENTS = (
    ("source", "kitchen", ("kitchen", "camera", "files", "bag"),
     "Where pictures come from: the simulated kitchen, a camera that runs already, files (a "
     "picture, a folder, a video), or a bag."),
    ("path", "", (), "The files, or the bag's folder."),
    ("camera_topic", "image", (), "Topic of the pictures, without the transport's suffix."),
    ("image_transport", "raw", ("raw", "compressed"), "How the camera or the bag has them."),
    ("depth_images", "", ("", "off", "raw", "compressedDepth"),
     "Depth aligned to the pictures, for positions: how depth_topic has it. Empty: raw in the "
     "kitchen, else as the parameter file says."),
    ("depth_topic", "depth/image", (), "Topic of the depth, without the transport's suffix."),
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
    ("rqt", "false", (),
     "Open rqt_image_view twice: on the camera's picture, to click in, and on the annotated one."),
    ("namespace", "", (), "Namespace of all nodes; topics that do not begin with / move with it."),
    ("use_sim_time", "", (),
     "Empty: true with a bag, whose clock is played; else as the parameters say."),
    ("log_level", "info", (), "Of region_query_node: debug, info, warn or error."),
    (*REQUIRED[:2], (), "true: if a part ends with an error, at its start or later, the whole "
     "launch ends, with status 1. false: the rest goes on."),
)  # fmt: skip


def include(name: str, **arguments: str) -> GroupAction:
    """Include a launch file of this package.

    What it declares stays in a scope of its own. All else goes in, or a namespace, a parameter or
    a variable that somebody sets around the chain would not reach the nodes; so an argument that
    this file has too, such as `model`, must be among `arguments`.
    """
    source = PythonLaunchDescriptionSource(str(LAUNCH / f"{name}.launch.py"))
    return GroupAction([IncludeLaunchDescription(source, launch_arguments=arguments.items())])


def list_parts(values: dict[str, str], detector: str) -> dict[str, dict[str, str]]:
    """Return the arguments of each launch file that the chain includes, by its name."""
    in_kitchen, in_files = values["source"] == "kitchen", values["source"] == "files"
    # The kitchen publishes `image` and `detections`, whatever a camera would.
    camera_topic = "image" if in_kitchen else values["camera_topic"]
    everywhere = {"namespace": values["namespace"], "required": values["required"]}
    of_pictures = {
        "camera_topic": camera_topic,
        "detections_topic": "detections" if detector == "kitchen" else values["detections_topic"],
        "image_transport": "raw" if in_kitchen or in_files else values["image_transport"],
        "use_sim_time": values["use_sim_time"] or ("true" if values["source"] == "bag" else ""),
    }
    own = {name: values[name] for name in ("log_level", "model", "params_file")}
    own["depth_images"] = values["depth_images"] or ("raw" if in_kitchen else "")
    own["depth_topic"] = "depth/image" if in_kitchen else values["depth_topic"]
    parts = {"region_query": {**everywhere, **of_pictures, **own}}
    if in_kitchen:
        drawn = {"seed": values["seed"], "rate": values["rate"], "transport": "raw"}
        with_detector = "true" if detector == "kitchen" else "false"
        parts["kitchen"] = {**everywhere, **drawn, "with_detector": with_detector}
    if in_files:
        shown = {"path": values["path"], "rate": values["rate"], "camera_topic": camera_topic}
        parts["files"] = {**everywhere, **shown}
    if detector == "model":
        found = {"model": values["detector_model"], "labels": values["detector_labels"]}
        parts["detector"] = {**everywhere, **of_pictures, **found}
    return parts


def play_when_ready(bag: Path, awaited: set[str], required: bool) -> RegisterEventHandler:
    """Play a bag once these nodes are ready: a short one would be over before."""
    play = ExecuteProcess(
        cmd=["ros2", "bag", "play", str(bag), "--clock", "100", "--disable-keyboard-controls",
             # What the node answered when it was recorded.
             "--exclude-regex", f"(/.*)?/{NODE}/.*"],
        additional_env={VARIABLE: EnvironmentVariable(VARIABLE, default_value=LARGER_BUFFERS)},
        output="screen",
        on_exit=end_launch_on_error if required else None,
    )  # fmt: skip
    left = set(awaited)

    def on_output(event: ProcessIO) -> ExecuteProcess | None:
        ready = {name for name in left if f"ready: {name}".encode() in event.text}
        left.difference_update(ready)
        return play if ready and not left else None

    return RegisterEventHandler(OnProcessIO(on_stdout=on_output))


def open_windows(context: LaunchContext, namespace: str, camera_topic: str | None) -> list[Node]:
    """Describe the windows: rqt_image_view wants whole names. No camera_topic: to be chosen."""
    around = context.launch_configurations.get("ros_namespace")  # by <push-ros-namespace>
    space = make_namespace_absolute(prefix_namespace(around, namespace) or "")
    topics = [camera_topic, f"{NODE}/annotated"]
    return [
        Node(
            package="rqt_image_view",
            executable="rqt_image_view",
            arguments=[] if topic is None else [prefix_namespace(space, topic)],
        )
        for topic in topics
    ]


def is_bag(path: Path) -> bool:
    """Return True for a file, and a folder that has files of a bag."""
    return path.is_file() or any(
        one.name == "metadata.yaml" or one.suffix in (".mcap", ".db3") for one in path.iterdir()
    )


def check(values: dict[str, str], detector: str) -> None:
    """Raise RuntimeError if arguments contradict each other.

    Before anything is started: where `launch` meets an error later, it ends and leaves behind what
    runs already.
    """
    if detector == "kitchen" and values["source"] != "kitchen":
        raise RuntimeError("detector:=kitchen goes with source:=kitchen only")
    if detector == "model" and not values["detector_model"]:
        raise RuntimeError("detector:=model needs detector_model:=FOLDER_OR_HUB_ID")
    if values["source"] in ("files", "bag") and not values["path"]:
        raise RuntimeError(f"source:={values['source']} needs path:=PATH")
    if values["source"] in ("files", "bag"):
        path = given_path("path", values["path"])
        if values["source"] == "bag" and not is_bag(path):
            raise RuntimeError(
                f"path:={values['path']} is no bag: it has no metadata.yaml, .mcap or .db3 file"
            )
    for name in ("rqt", "use_sim_time", "required"):
        if values[name]:
            given_bool(name, values[name])
    if given_bool("rqt", values["rqt"]):
        try:
            get_package_prefix("rqt_image_view")
        except PackageNotFoundError:
            raise RuntimeError("rqt:=true needs the package rqt_image_view") from None


def make_chain(context: LaunchContext) -> list[Action]:
    """Choose the parts by the arguments. Raises RuntimeError if they contradict each other."""
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    detector = values["detector"] or ("kitchen" if values["source"] == "kitchen" else "none")
    check(values, detector)
    parts = list_parts(values, detector)
    for name, arguments in parts.items():
        # Here, before the first part starts, not only where each part reads its own.
        given_parameters(PARAMETERS[name], {**context.launch_configurations, **arguments})
    actions: list[Action] = [include(name, **arguments) for name, arguments in parts.items()]
    if values["source"] == "bag":
        awaited = {NODE, "detector_node"} if detector == "model" else {NODE}
        bag = Path(values["path"]).expanduser()
        required = given_bool("required", values["required"])
        actions.append(play_when_ready(bag, awaited, required))
    if given_bool("rqt", values["rqt"]):
        camera = parts["region_query"]
        seen = camera["camera_topic"] if camera["image_transport"] == "raw" else None
        actions += open_windows(context, values["namespace"], seen)
    return actions


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and the chain."""
    declared = [
        DeclareLaunchArgument(
            name, default_value=default, description=text, choices=list(choices) or None
        )
        for name, default, choices, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_chain)])
