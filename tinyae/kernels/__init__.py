"""The hot operations again, as loops for one kind of machine each; the definitions stay in ``ops/``."""
