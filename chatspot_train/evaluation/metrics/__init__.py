"""Scores, computed from answers and truths alone."""
