"""Programs that work offline: replay of a bag, reference pages."""
