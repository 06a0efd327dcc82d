"""The hot loops in numba. Begin with ``products.py``; ``vectors.py`` is what it stands on."""
