"""Conversations as token ids, and answer ids as text."""
