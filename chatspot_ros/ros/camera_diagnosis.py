"""The one reason why no picture of a camera comes, for the log, the replies and /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RAW = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
TRANSPORT_REMEDY = (
    "Fast DDS loses best-effort images above about 500 kB as it starts: start the camera with "
    "FASTDDS_BUILTIN_TRANSPORTS='DEFAULT?max_msg_size=60KB&sockets_size=16MB', or let both use "
    "reliable QoS (parameter image_reliability:=reliable). With LARGE_DATA in one process only, "
    "the two do not meet at all"
)
_SUFFIX = "/compressed"
# The number of other topics that are named.
_NAMED = 3


@dataclass(frozen=True)
class Listening:
    """What a subscription knows of its camera.

    `publishers` of `topic`: (type, best effort?). `images`: the type of every image topic that has
    a publisher. `quiet_s`: seconds without a frame; `frames` and `lost` are counts since the start.
    """

    topic: str
    wanted: str
    reliable: bool
    publishers: Sequence[tuple[str, bool]]
    images: Mapping[str, str]
    quiet_s: float
    frames: int = 0
    lost: int = 0


def diagnose(at: Listening) -> str:
    """Return one sentence that names the topic, its publishers and the likeliest cause."""
    of_type = [best_effort for kind, best_effort in at.publishers if kind == at.wanted]
    if not at.publishers:
        return f"no publisher on {at.topic} ({at.wanted}){_elsewhere(at)}"
    if not of_type:
        kinds = ", ".join(sorted({kind for kind, _ in at.publishers}))
        return f"{_count(len(at.publishers))} on {at.topic} of {kinds}, not {at.wanted}" + (
            _other_type(at, kinds)
        )
    if at.reliable and all(of_type):
        return (
            f"{_count(len(of_type))} on {at.topic} with best_effort QoS, which this node's "
            "reliable subscription does not accept: set image_reliability:=best_effort"
        )
    quiet = f"{_count(len(of_type))} on {at.topic}"
    if at.lost:
        quiet += f", {at.lost} frames lost on the way"
    if at.frames and not at.lost:
        return f"{quiet}, the last frame came {at.quiet_s:.0f} s ago"
    quiet += f", but no frame has come for {at.quiet_s:.0f} s"
    if at.reliable:
        return f"{quiet}: look whether the camera does publish"
    return f"{quiet}. If the camera does publish: {TRANSPORT_REMEDY}"


def _count(publishers: int) -> str:
    return f"{publishers} publisher{'' if publishers == 1 else 's'}"


def _elsewhere(at: Listening) -> str:
    """Return where images are published instead."""
    base = at.topic.removesuffix(_SUFFIX)
    if at.wanted == COMPRESSED and at.images.get(base) == COMPRESSED:
        return (
            f", but on {base}: {_SUFFIX} stands twice, because image_transport:=compressed adds "
            f"it; remap `image` to {base.removesuffix(_SUFFIX)}"
        )
    if at.wanted == COMPRESSED and at.images.get(base) == RAW:
        return f", but raw images on {base}: set image_transport:=raw"
    if at.wanted == RAW and at.images.get(at.topic + _SUFFIX) == COMPRESSED:
        return f", but on {at.topic}{_SUFFIX}: set image_transport:=compressed"
    others = sorted(topic for topic, kind in at.images.items() if kind == at.wanted)[:_NAMED]
    return f"; such images are on {', '.join(others)}: remap `image`" if others else ""


def _other_type(at: Listening, kinds: str) -> str:
    base = at.topic.removesuffix(_SUFFIX)
    if kinds == COMPRESSED and base != at.topic:
        return f": set image_transport:=compressed and remap `image` to {base}"
    if kinds == COMPRESSED:
        return (
            ": image_transport:=compressed listens below the name that `image` has, on "
            f"{at.topic}{_SUFFIX}"
        )
    return f": remap `image` to a topic of {at.wanted}"
