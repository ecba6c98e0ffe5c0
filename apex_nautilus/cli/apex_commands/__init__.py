"""Verbs of `apex`, one module each."""
