"""Programs that measure: each runs both sides and prints their ratio. Results: docs/LOG.md."""

# Before torch, for it says how torch's threads wait for one another.
import chatspot_ros.engine  # noqa: F401
