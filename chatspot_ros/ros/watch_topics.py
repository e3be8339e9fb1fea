"""What the watch list tells: changes on ~/states, conditions on ~/events, the past on ~/history."""

from __future__ import annotations

from collections.abc import Iterable

from rclpy.node import Node
from rclpy.qos import QoSProfile

from chatspot_ros.msg import StateChange
from chatspot_ros.ros.conversions import (
    fill_history,
    to_event_message,
    to_ns,
    to_state_change_message,
)
from chatspot_ros.server.request import Picture
from chatspot_ros.server.watch_history import SeenChange, WatchHistory
from chatspot_ros.server.watch_rounds import Event
from chatspot_ros.server.watch_tracker import Change
from chatspot_ros.srv import WatchHistory as WatchHistoryService

_CHANGES = QoSProfile(depth=100)
# With the default depth of 10, an eleventh simultaneous request would be lost.
_REQUESTS = QoSProfile(depth=1000)


class WatchTopics:
    """Publishes changes and events, and answers for the changes so far."""

    def __init__(self, node: Node, limit: int, is_watching: bool) -> None:
        """`limit` is the number of changes to keep; `is_watching`: there is a watch list."""
        self._node = node
        self._is_watching = is_watching
        self._states = node.create_publisher(StateChange, "~/states", _CHANGES)
        self._events = node.create_publisher(StateChange, "~/events", _CHANGES)
        self.history = WatchHistory(limit)
        node.create_service(
            WatchHistoryService, "~/history", self._on_request, qos_profile=_REQUESTS
        )

    def tell_changes(self, changes: Iterable[Change], picture: Picture | None, source: str) -> None:
        """Publish and keep changes; `source` is the request's name in the log."""
        for change in changes:
            self._node.get_logger().info(f"{source}: {change}")
            stamp_ns, frame_id = (picture.stamp_ns, picture.frame_id) if picture else (0, "")
            self.history.add(SeenChange(change, stamp_ns, frame_id))
            self._states.publish(to_state_change_message(change, picture))

    def tell_events(self, events: Iterable[Event], picture: Picture | None) -> None:
        """Publish the conditions that have become true by a picture."""
        for event in events:
            fulfilled = event.fulfilled
            self._node.get_logger().info(f"{event.thing.name}: {fulfilled.condition.text}")
            self._events.publish(to_event_message(event, picture))

    def _on_request(
        self, request: WatchHistoryService.Request, response: WatchHistoryService.Response
    ) -> WatchHistoryService.Response:
        if not self._is_watching:
            response.message = "nothing is watched: set the parameter watch"
            return response
        found = self.history.find(
            request.thing, request.attribute, to_ns(request.since), int(request.limit)
        )
        return fill_history(response, *found)
