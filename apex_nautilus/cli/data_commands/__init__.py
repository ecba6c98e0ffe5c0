"""The verbs of `apex data`, one module each."""
