"""gRPC calls to workers over HTTP/2, in the gateway's own turns of the loop."""
