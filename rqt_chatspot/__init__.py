"""The window of chatspot_ros as a plugin of rqt."""
