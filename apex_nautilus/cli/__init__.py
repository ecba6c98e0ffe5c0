"""The command lines `apex` (trade, import, inspect) and `apex-forge` (evolve, prove, replace).

Each verb is one module of `apex_commands` or `forge_commands` that exposes a click command named
`command`; the
group finds modules by name and imports one only when its verb is used, so that `--help` and tab completion
stay fast.
"""
