"""The `model` agent: a small loop over a model's endpoint, with tools for files, programs and pods.

`talk` has the words of a conversation, `loop` decides what comes next, `compaction` what is left
out, `anthropic` and `openai` translate, `sse` reads streams, `faults` judges what failed: all of
them pure. `endpoint` speaks HTTP (the one file that needs httpx), `files`, `commands` and
`children` are the tools, `toolbox` holds them, `settings` reads the options, `agent` performs.
"""
