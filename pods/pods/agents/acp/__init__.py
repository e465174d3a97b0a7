"""Agents that speak the Agent Client Protocol (ACP, version 1), as agents of a pod.

`peer` is the protocol's lines (pure), `table` the agents that are known (data), `program` finds
them and what they need of the machine, `updates` and `permissions` decide what becomes of what they
say and ask (pure); `process`, `requests`, `terminals` and `agent` do it.
"""
