"""Device code: Triton for GPUs, native for CPUs. Filled by the work that brings each device."""
