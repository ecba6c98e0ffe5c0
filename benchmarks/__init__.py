"""Benchmarks: each measures the product beside a named peer in the same run. `python -m benchmarks
--help`.
"""
