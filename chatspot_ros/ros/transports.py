"""The setting of Fast DDS with which large pictures arrive (docs/adr/0006).

Launch files read it too, outside any environment of ours: this imports nothing.
"""

VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"
# The default transports with larger buffers. Only who publishes needs them, and programs with and
# without them find each other.
LARGER_BUFFERS = "DEFAULT?max_msg_size=60KB&sockets_size=16MB"
