"""The layout of each venue's archive. One venue a module."""
