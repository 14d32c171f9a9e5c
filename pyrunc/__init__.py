"""pyrunc: an OCI low-level container runtime. The entry is boot.main."""

__version__ = "0.1.0"
