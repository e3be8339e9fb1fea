"""Everything that speaks rclpy or ROS messages."""
