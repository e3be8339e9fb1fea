"""Image messages and files as arrays, and annotated images."""
