"""Verbs of `apex config`, one module each."""
