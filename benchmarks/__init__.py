"""Programs that measure: each runs both sides and prints their ratio. Results: docs/LOG.md."""
