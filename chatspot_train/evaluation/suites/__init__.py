"""Public benchmarks, one suite a file."""
