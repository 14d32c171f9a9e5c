"""pyrunc: an OCI low-level container runtime. The entry is boot.main."""

__version__ = "0.1.0"
OCI_VERSION = "1.3.0"  # of the runtime specification: in what we write, and the newest we know
