"""Turns tokens into tokens: a gRPC front process and an engine process."""
