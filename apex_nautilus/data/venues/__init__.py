"""What single venues say about their instruments. One venue a module."""
