"""The HTTP API's own types: what a request may say, and what is said about one that may not."""
