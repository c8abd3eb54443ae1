"""The embedded default: a real Kafka, a real schema registry and the five services as child processes.

Owns the child processes of one data folder. `platform` composes them, `supervisor` keeps them running, `reaper` ends
them when the supervisor itself was killed, `broker` and `schema_registry` know how to start the two Java programs,
`maven` and `bundle` how to get them. Needs a POSIX system (Linux, macOS, WSL).
"""
