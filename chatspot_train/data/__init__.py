"""Data files to training records: sources, augmentation, preview."""
