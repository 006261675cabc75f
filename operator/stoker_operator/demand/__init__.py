"""What gateways tell of requests: heard over gRPC, added up, shown in status."""
