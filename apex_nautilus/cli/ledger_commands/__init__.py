"""Verbs of `apex ledger`."""
