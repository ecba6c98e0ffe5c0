"""Verbs of `apex-forge`, one module each."""
