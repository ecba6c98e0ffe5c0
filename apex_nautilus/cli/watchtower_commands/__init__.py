"""Verbs of `apex watchtower`."""
