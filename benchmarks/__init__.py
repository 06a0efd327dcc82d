"""Benchmarks that people run: ``python -m benchmarks`` lists them."""
