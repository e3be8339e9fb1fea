"""The simulated kitchen as a benchmark."""
