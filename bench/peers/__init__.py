"""Stoker beside other servers: the same weights, the same client, the same machine, in turns.

    python -m bench.peers [--quick] [--rounds N] [--only NAME …] [--tune] [--output FILE]

Peers come from the package index at pinned versions, each into an environment of its own (`environments`). What is
compared, and with which settings, is a table (`subjects`); `rounds` starts one server after the other and drives it with
`stoker bench`'s own functions; `report` turns the figures into the results file, the document's table and its picture.
"""
