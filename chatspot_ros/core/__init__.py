"""Regions, dialects, prompts and answers: no ROS, no torch."""
