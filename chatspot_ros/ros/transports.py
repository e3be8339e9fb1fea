"""The Fast DDS setting that makes large images arrive (docs/adr/0006).

Launch files load it outside the installed environment, so this module imports nothing.
"""

VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"
# The default transports with larger buffers. Only publishers need them; programs with and without
# them discover each other.
LARGER_BUFFERS = "DEFAULT?max_msg_size=60KB&sockets_size=16MB"
