"""What the gateway costs: one process on one core, between a load generator and a worker that computes nothing.

    python -m bench.gateway [--quick] [--streams 64] [--step-ms 10] [--output FILE]

The worker at the wire (`fake_worker`) emits one Frame per step for all its requests, as a real one does. It and the load
generator share the other core. CPU time of the gateway is read from /proc, so it does not depend on how busy they are.
"""
