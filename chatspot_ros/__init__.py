"""Ask a vision-language model about regions of a camera image, over ROS 2."""
