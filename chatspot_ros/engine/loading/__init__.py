"""A checkpoint from disk to a device."""
