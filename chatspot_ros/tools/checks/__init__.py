"""The checks of `chatspot doctor`: each returns findings, and none raises."""
