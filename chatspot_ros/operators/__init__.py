"""What a person does with a picture: click, draw, ask, see. The window and the page use it alike;
they know neither rclpy nor rqt."""

from chatspot_ros.operators.client import (
    Answer,
    Ask,
    AskedQuestion,
    Frame,
    OperatorClient,
    Reply,
)

__all__ = ["Answer", "Ask", "AskedQuestion", "Frame", "OperatorClient", "Reply"]
