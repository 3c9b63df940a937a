"""Tables as bytes: lossless compression by a fitted density."""

from skvae.compression.container import compress, decompress
from skvae.compression.files import pack, unpack

__all__ = ["compress", "decompress", "pack", "unpack"]
