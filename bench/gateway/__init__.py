"""What the gateway costs: one process on one core, between a load generator and a worker that computes nothing.

    python -m bench.gateway [--quick] [--output FILE]

The worker at the wire (`fake_worker`) emits one Frame per step for all its requests, as a real one does. It and the load
generator share the other core. CPU time of the gateway is read from /proc, so it does not depend on how busy they are; it
does depend on the machine, so what bare writes cost here (`bare`) stands beside it.

Prompts are made of two hundred common words, all of which the gateway's table of words knows after the first requests.
Text with rare words costs more: a prompt of 128 tokens up to a quarter of a millisecond.
"""
