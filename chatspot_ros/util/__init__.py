"""Helpers that know nothing of regions and models: files, memory."""
