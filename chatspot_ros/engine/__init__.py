"""Scenes, questions and decoding: everything that runs the model. Torch, never rclpy."""
