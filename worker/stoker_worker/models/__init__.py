"""A file per model family, and the configuration they share."""
