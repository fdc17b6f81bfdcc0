"""doubleback."""
