"""Data sets, training and evaluation of region-aware vision-language models."""
