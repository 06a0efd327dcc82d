"""Compression: codes, quantised and entropy-coded, in a file that decodes back; and what it costs beside PCA, JPEG and PNG."""

from .coding import about_file, compress, decompress, decompressed, model_hash, read_codes
from .quantiser import UniformQuantiser

__all__ = ["UniformQuantiser", "about_file", "compress", "decompress", "decompressed", "model_hash", "read_codes"]
