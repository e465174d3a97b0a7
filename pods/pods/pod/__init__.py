"""The pod's own process: its turns, its socket, its life.

`turns` decides (pure), `server` performs and answers, `main` opens what they need. Started by
`pods.keeper` in a forked child, or as `python -m pods.pod FD` under another interpreter.
"""
