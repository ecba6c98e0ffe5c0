"""Verbs of `apex features`, one module a verb."""
