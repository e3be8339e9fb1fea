"""Helpers without any knowledge of regions or models."""
