"""What the operator costs: many Deployments at once, then one change at a time, then a while in which nothing happens.

python -m bench.operator [--quick]

etcd, the API server, the controllers, the scheduler and kwok's fake GPU nodes run as plain processes beside the operator; all of them
share this machine's cores. kwok's pods become Ready by themselves. CPU and memory are the operator process's own, from /proc.
"""
