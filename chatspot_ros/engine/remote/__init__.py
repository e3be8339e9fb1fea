"""Engines behind an OpenAI-compatible server: requests, prompts, failures, and a local stand-in.

No torch: only the local stand-in, where one is named, loads it.
"""
