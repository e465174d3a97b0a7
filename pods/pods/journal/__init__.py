"""The journal: what a pod did, one line an event, and what follows from it.

`events` is the line, `segments`, `lines` and `filling` are the files, `store` is the one writer and
`open_segment` what it writes, `reader` is for everybody else, `fold` is the state that follows from
the events, `feed` serves subscribers.
"""
