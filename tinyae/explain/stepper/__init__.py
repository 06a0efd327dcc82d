"""A tape to step through: as text for a terminal, and as one page that works offline."""
