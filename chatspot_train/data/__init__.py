"""From data files to training records."""
