"""Tokens and the key-value cache: from logits to an answer."""
