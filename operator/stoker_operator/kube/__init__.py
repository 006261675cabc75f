"""The edge to the API server: one client, its credentials, and the paths of what the operator reads and writes."""
