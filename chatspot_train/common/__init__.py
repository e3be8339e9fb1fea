"""Training code that both recipes share."""
