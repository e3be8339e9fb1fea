"""Training code that both recipes share: the trainer, the optimizer, settings, bfloat16."""
