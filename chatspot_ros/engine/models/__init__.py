"""One file for each model family, and their registry."""
