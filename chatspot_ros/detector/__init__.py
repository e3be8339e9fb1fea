"""Object detection behind one call."""
