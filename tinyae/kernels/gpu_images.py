"""Not here yet."""

TWINS: dict = {}
