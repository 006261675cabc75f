"""`stoker up`: gateway and workers of one machine, started, watched and stopped together.

options (what is asked, checked) → model (weights on disk) → plan (command lines, pure) → supervisor (processes) →
readiness, banner (what a person sees). `command` wires them together.
"""
