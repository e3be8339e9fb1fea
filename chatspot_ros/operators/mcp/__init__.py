"""The tools of an agent (Model Context Protocol): look, ask, list, watch; without rclpy."""
