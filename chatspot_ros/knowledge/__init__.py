"""A folder of notes: its files, the passages in them, and what they say of a robot's steps."""
