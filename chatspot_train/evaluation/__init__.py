"""Measuring models: suites, metrics, reports."""
