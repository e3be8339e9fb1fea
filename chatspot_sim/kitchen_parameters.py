"""The parameters of the simulated camera and detector: also arguments of their launch file.

Apart from the nodes, so that a launch file need not import the simulation.
"""

from dataclasses import replace

from chatspot_ros.server.parameter_spec import Spec

CAMERA, DETECTOR = "kitchen_camera", "kitchen_detector"
CAMERA_SPECS = (
    Spec("seed", 0, "Which kitchen is drawn. Set while it runs: another is drawn, and acts go "
         "wrong anew.", low=0, high=2**31 - 1),
    Spec("split", "test", "Which seeds the kitchen is one of; chatspot-tiny learned from train.",
         choices=("train", "val", "test")),
    Spec("width", 640, "Width of the picture in pixels.", low=64, high=3840),
    Spec("height", 480, "Height of the picture in pixels.", low=64, high=2160),
    Spec("rate", 5.0, "Pictures per second.", low=0.05, high=60.0),
    Spec("transport", "raw", "raw: sensor_msgs/Image on `image`; compressed: "
         "sensor_msgs/CompressedImage on `image/compressed`.", choices=("raw", "compressed")),
    Spec("compressed_format", "jpeg", "What a compressed picture is.", choices=("jpeg", "png")),
    Spec("reliability", "reliable", "QoS of the pictures; best_effort as most camera drivers. "
         "Fast DDS then loses large ones, unless it has larger buffers (README.md).",
         choices=("reliable", "best_effort")),
    Spec("frame_id", CAMERA, "frame_id of the pictures' headers."),
    Spec("life_period_s", 0.0, "Every so many seconds something changes by itself: a door, a "
         "burner, a mug. 0: only what robots do changes anything.", low=0.0, high=3600.0),
    Spec("depth", "32FC1", "Depth pictures on `depth/image`, rendered while somebody subscribes: "
         "32FC1 in metres, 16UC1 in millimetres.", choices=("off", "32FC1", "16UC1")),
    Spec("depth_noise", 0.0, "Error of a depth (standard deviation), as a share of it.",
         low=0.0, high=0.5),
    Spec("depth_holes", 0.0, "Share of pixels without a depth; with any, edges have none, too.",
         low=0.0, high=0.95),
    Spec("act_faults", "", "Outcomes of the first acts, a word each: `works`; `fails` with a "
         "reason; `slips`: reports success, and nothing changes; `late`: works, and the report "
         "comes late. Empty: as drawn by act_fault_rate."),
    Spec("act_fault_rate", 0.0, "Share of the other acts with a fault, each kind as often, drawn "
         "from the seed.", low=0.0, high=1.0),
    Spec("act_late_s", 3.0, "How late a late report comes, in seconds.", low=0.0, high=600.0),
)  # fmt: skip
DETECTOR_SPECS = (
    Spec("seed", 0, "Seed of the detector's errors, together with each picture's stamp.",
         low=0, high=2**31 - 1),
    Spec("jitter", 0.02, "How far each edge of a box is off (standard deviation), as a share of "
         "the box's width or height.", low=0.0, high=0.5),
    Spec("miss_rate", 0.05, "Share of clearly visible things that are missed.", low=0.0, high=1.0),
    Spec("min_pixels", 150, "Things of fewer visible pixels are never found.", low=1, high=10**6),
    Spec("min_visible", 0.3, "Things of which a smaller share is seen are never found.",
         low=0.0, high=1.0),
)  # fmt: skip
# As launch arguments, beside the camera's.
DETECTOR_ARGUMENTS = tuple(
    replace(spec, name=f"detector_{spec.name}") if spec.name == "seed" else spec
    for spec in DETECTOR_SPECS
)
