"""The inference thread, its jobs and their order."""
