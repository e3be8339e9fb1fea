"""The parameters of region_query_node, declared once: name, type, default, range, meaning.

`chatspot docs` writes docs/parameters.md from this table.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from chatspot_ros.core.detection_space import PATTERN as DETECTION_SPACE
from chatspot_ros.core.regions import MAX_CORNERS
from chatspot_ros.engine.engine_config import EngineConfig
from chatspot_ros.errors import MAX_NAME_CHARS
from chatspot_ros.server.depth_settings import DepthSettings
from chatspot_ros.server.parameter_spec import DEVICES, Spec
from chatspot_ros.server.parameter_spec import parameter as _of


@dataclass(frozen=True)
class Settings(DepthSettings):
    """The values of all parameters at one moment. Those that are `fixed` are read-only."""

    autostart: bool = _of(
        True,
        "Configure and activate at start. Off: a lifecycle manager (or `ros2 lifecycle set`) does "
        "it, once or repeatedly.",
        fixed=True,
    )
    model: str = _of(
        EngineConfig.model,
        "The checkpoint: a folder, the name of a bundled one, or a hub id. Or a server's model: "
        "openai:URL#NAME, or a YAML file (docs/remote.md).",
        fixed=True,
    )
    allow_download: bool = _of(
        EngineConfig.allow_download,
        "Download a hub id that is not in the local cache. Off: start-up needs no network.",
        fixed=True,
    )
    device: str = _of(
        EngineConfig.device,
        "Where the model runs: auto, cpu, cuda, cuda:1, ... Several with commas (cuda:0,cuda:1): a "
        "copy of the model runs on each, and they share the requests.",
        fixed=True,
        pattern=DEVICES,
        form="auto, cpu, cuda, cuda:1, ... or several of them with commas",
    )
    dtype: str = _of(
        EngineConfig.dtype,
        "Number format of the weights; auto chooses by device.",
        choices=("auto", "float32", "bfloat16", "float16"),
        fixed=True,
    )
    threads: int = _of(
        EngineConfig.threads,
        "CPU threads of the model; 0: its cores, hyperthreads not counted.",
        low=0,
        high=256,
        fixed=True,
    )
    skills_file: str = _of(
        EngineConfig.skills_file,
        "YAML file of the robot's skills (name: description); a bare name is looked up in the "
        "package's config "
        "folder. Empty: plans are free text.",
        fixed=True,
    )
    max_new_tokens: int = _of(
        0, "Longest answer, in tokens; 0: the model's own limit.", low=0, high=4096
    )
    min_confidence: float = _of(
        -1.0, "Answers with a confidence below this are marked uncertain; negative: the threshold "
        "that was measured for the model.",
        low=-1.0, high=1.0,
    )  # fmt: skip
    look_twice: str = _of(
        "auto", "Show the model the asked region a second time, cut out of the image and larger. "
        "auto: if it was trained with such cuts; on: always, and for a question without a region "
        "it first says where the answer lies; off: never.",
        choices=("auto", "on", "off"),
    )  # fmt: skip
    reader: str = _of(
        "auto", "Read the print in the asked region (OCR) and tell the model of it. auto: if the "
        "model was trained with it and the question asks for print; on: for every question about "
        "one region; off: never.",
        choices=("auto", "on", "off"),
    )  # fmt: skip
    screen_questions: bool = _of(
        True,
        "Reply to small talk, commands and what no picture can tell with a status of their "
        "own, without asking the model, if the request names no task. Off: ask the model.",
    )
    knowledge: str = _of(
        "", "Folder of notes (Markdown, text, PDF) in which plans and descriptions are looked up; "
        "docs/models.md says how. Empty: nothing is looked up.",
    )  # fmt: skip
    plans_need_notes: bool = _of(
        False, "With `knowledge`: mark a plan uncertain that no note says anything about."
    )
    knowledge_embeddings: str = _of(
        EngineConfig.knowledge_embeddings,
        "Text encoder that ranks the notes by meaning: a folder or hub id (of the kind of "
        "all-MiniLM-L6-v2). Empty: BM25 ranks them by their words.",
        fixed=True,
    )
    segmenter: str = _of(
        EngineConfig.segmenter,
        "Promptable segmenter (a SAM: folder or hub id) that turns the boxes in `grounded` into "
        "outlines. Empty: they stay boxes.",
        fixed=True,
    )
    show_labels: bool = _of(False, "Tell the model what the detector called a region.")
    cameras: tuple[str, ...] = _of(
        ("camera",),
        "Names of the cameras. A single camera of any name subscribes image, detections and click; "
        "several cameras called NAME subscribe NAME/image, NAME/detections and NAME/click. "
        "A request without a camera means the first.",
        fixed=True,
        pattern=r"[A-Za-z][A-Za-z0-9_]*",
        form="a list of names out of letters, digits and _, a letter first",
    )
    image_transport: str = _of(
        "raw",
        "raw: sensor_msgs/Image on `image`; compressed: sensor_msgs/CompressedImage on "
        "`image`/compressed.",
        choices=("raw", "compressed"),
        fixed=True,
    )
    image_reliability: str = _of(
        "best_effort",
        "QoS of the image subscription. best_effort matches every camera; reliable transfers large "
        "images over any network, from cameras that offer it; best_available takes the QoS of the "
        "publishers present when the node is activated (reliable if there is none); "
        "system_default leaves it to the middleware.",
        choices=("best_effort", "reliable", "best_available", "system_default"),
        fixed=True,
    )
    image_depth: int = _of(
        5,
        "QoS of the image subscription: number of images that wait while the node is busy; older "
        "ones are dropped.",
        low=1,
        high=1000,
        fixed=True,
    )
    detection_space: str = _of(
        "camera",
        "The pixels of the detector's boxes. `camera`: those of the camera's image; `resized WxH`: "
        "of that image stretched to W x H; `letterboxed WxH`: scaled evenly and padded at the "
        "right and at the bottom (Isaac ROS Grounding DINO: `letterboxed 960x544`); "
        "`letterboxed_centre WxH`: padded on both sides.",
        pattern=DETECTION_SPACE,
        form="`camera`, or `resized`, `letterboxed` or `letterboxed_centre` with a size such as "
        "`letterboxed 960x544`",
    )
    detection_tolerance: float = _of(
        0.0,
        "Largest difference between the stamps of detections and of their frame, in s. It must be "
        "less than half the time between frames, so that only one frame can be meant. 0: the "
        "stamps must be equal.",
        low=0.0,
        high=10.0,
    )
    buffer_seconds: float = _of(
        10.0, "Frames are held for this time, by their stamps, in s.", low=0.1, high=600, fixed=True
    )
    buffer_megabytes: int = _of(
        256, "Frames of one camera take at most this many MB.", low=1, high=65536, fixed=True
    )
    max_image_age: float = _of(
        10.0,
        "The newest frame may be this old, by its stamp and by its arrival, in s; else "
        "STALE_IMAGE. 0: any age.",
        low=0,
        high=1e6,
    )
    frame_wait: float = _of(
        0.5, "Longest wait for a missing frame, or its detections, that a request names, in s.",
        low=0, high=10,
    )  # fmt: skip
    no_image_warning: float = _of(
        5.0,
        "Say why, if no frame came for this time, in s. 0: never.",
        low=0,
        high=3600,
        fixed=True,
    )
    max_pixels: int = _of(
        40_000_000,
        "Largest picture, in pixels; larger ones are refused before they are decoded.",
        low=1,
        high=1_000_000_000,
    )
    max_regions: int = _of(
        64, "Most regions of one request, detections included.", low=1, high=1000
    )
    max_corners: int = _of(
        MAX_CORNERS,
        "Most corners of a polygon in a request, without those on straight edges. All polygons of "
        "a request that cross themselves may together be as costly to repair as one of that many.",
        low=3,
        high=1000,
    )
    max_question_chars: int = _of(2000, "Longest question, in characters.", low=1, high=100_000)
    max_name_chars: int = _of(
        MAX_NAME_CHARS,
        "Longest session name, region id and label of a request, in characters.",
        low=1,
        high=100_000,
    )
    queue_size: int = _of(
        8,
        "Requests that may wait while one is answered; more get BUSY.",
        low=1,
        high=1000,
        fixed=True,
    )
    default_timeout: float = _of(
        30.0, "Time limit of a request that names none, in s.", low=0.01, high=3600
    )
    scene_cache_mb: int = _of(
        1024,
        "Size of the cache of pictures (pixels, vision features, keys and values of the attention) "
        "for further questions, in MB. The least recently used are dropped first, except those in "
        "use.",
        low=1,
        high=1_000_000,
        fixed=True,
    )
    session_cache_mb: int = _of(
        256,
        "Size of the cache of conversations' keys and values, in MB; the model reads the turns of "
        "other conversations again.",
        low=1,
        high=1_000_000,
        fixed=True,
    )
    max_sessions: int = _of(
        32, "Conversations at a time; the least recently used one ends.", low=1, high=10_000
    )
    session_idle: float = _of(
        600.0, "A conversation ends after this time without a question, in s.", low=1, high=1e6
    )
    session_turns: int = _of(
        8, "Turns of a conversation that the model still sees.", low=1, high=100
    )
    default_question: str = _of("What is this?", "The question that a click asks about its point.")
    states_file: str = _of(
        EngineConfig.states_file,
        "YAML file of the possible states (attribute: list of values); a bare name is looked up in "
        "the package's config folder. Empty: any words.",
        fixed=True,
    )
    constrain_answers: bool = _of(
        EngineConfig.constrain_answers,
        "Constrain states, plans and places to their form while the model answers. Off: they are "
        "parsed from free text.",
        fixed=True,
    )
    service_introspection: str = _of(
        "off",
        "Publish requests and replies of ~/region_query on ~/region_query/_service_event, for "
        "`ros2 service echo`. metadata: time, client and number; contents: also every field, a "
        "picture in the request included.",
        choices=("off", "metadata", "contents"),
    )
    watch: str = _of(
        "",
        "YAML file of questions to repeat about detected things (the bare name `watch.yaml` is the "
        "package's); changes of state are published on ~/states, conditions that become true on "
        "~/events. Empty: no questions.",
        fixed=True,
    )
    watch_history: int = _of(
        1000, "Changes of state that are kept for the service ~/history, the newest; 0: none.",
        low=0, high=10_000, fixed=True,
    )  # fmt: skip
    feedback_log: str = _of(
        "", "File to log answers, their ratings (~/rate_answer) and follow-ups into, as JSON lines "
        "for `chatspot feedback`. Empty: no log.",
        fixed=True,
    )  # fmt: skip
    feedback_log_mb: int = _of(
        64, "Size of that log with its three older files, in MB.", low=1, high=65536, fixed=True
    )
    feedback_pictures_mb: int = _of(
        0, "Size of the folder of pictures of the asked regions beside that log, in MB; 0: no "
        "picture is kept.",
        low=0, high=65536, fixed=True,
    )  # fmt: skip
    relabel_question: str = _of(
        "What is this?",
        "The question about every detected box while somebody subscribes to ~/detections; the "
        "answer becomes the box's name.",
        pattern=r"[^<]*\S[^<]*",
        form="a question without `<`: it is asked about each box separately",
    )
    quantisation: str = _of(
        EngineConfig.quantisation,
        "Bits of the language model's weights: int8 or int4 take a half or a quarter of bfloat16's "
        "memory and need the package torchao.",
        choices=("none", "int8", "int4"),
        fixed=True,
    )
    compile: str = _of(
        EngineConfig.compile,
        "On an NVIDIA GPU: auto records a decoding step as one graph; on also fuses its kernels, "
        "which takes minutes at start-up; off does neither. No effect elsewhere.",
        choices=("auto", "off", "on"),
        fixed=True,
    )
    warm_up: bool = _of(
        EngineConfig.warm_up,
        "Ask some questions at start-up, so that the first request is not slow.",
        fixed=True,
    )
    memory_tokens: int = _of(
        EngineConfig.memory_tokens,
        "Tokens (picture, questions, answers) whose keys and values must fit into memory beside "
        "the weights; else the model is not loaded.",
        low=0,
        high=10_000_000,
        fixed=True,
    )
    picture_pixels: int = _of(
        EngineConfig.picture_pixels,
        "Largest picture that the model sees, in pixels, where its family takes several sizes; 0: "
        "the family's (docs/models.md). More pixels show smaller things; tokens, memory and the "
        "time to see a picture grow with them.",
        low=0,
        high=1_000_000_000,
        fixed=True,
    )
    memory_reserve_mb: int = _of(
        EngineConfig.memory_reserve_mb,
        "Further memory that must be free for intermediate results, in MB.",
        low=0,
        high=1_000_000,
        fixed=True,
    )


# Those of the base classes come last.
_FIELDS = sorted(
    fields(Settings), key=lambda entry: entry.name not in vars(Settings)["__annotations__"]
)
SPECS = tuple(Spec(name=entry.name, default=entry.default, **entry.metadata) for entry in _FIELDS)
