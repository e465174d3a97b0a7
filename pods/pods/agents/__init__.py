"""What lives in a pod and answers its turns.

`base` is the interface, `turn` what an agent is given, the kinds are one file each, `loading` finds
them. Imported by the pod's process only.
"""
