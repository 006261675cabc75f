"""The gRPC front process: streams, admission, engine supervision. Imports no torch."""
