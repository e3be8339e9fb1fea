"""The classes of the bundled models, known to transformers by name."""
