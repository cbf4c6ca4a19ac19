"""zkmarket."""
