"""What a supervisor remembers of its pods: nothing but what its journal's events say.

`record` is one pod, and what each event changes of it; `table` is all of them, the fold of the
whole journal; `events` is what the supervisor writes for both. Pure: ids and times come in with the
events. Must not know processes, sockets, clocks or files, nor what has to be done in which life:
that is `pods.lifecycle`. Called by `pods.supervisor`.
"""
