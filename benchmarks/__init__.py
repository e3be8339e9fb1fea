"""Benchmarks: each measures two sides in one run and prints their ratio. Results: docs/LOG.md."""

# Before torch: it sets how torch's threads wait for each other.
import chatspot_ros.engine  # noqa: F401
