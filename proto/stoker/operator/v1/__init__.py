"""Generated from `demand.proto`."""
