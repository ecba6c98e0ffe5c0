"""The verbs of `apex sim`, one a module."""
