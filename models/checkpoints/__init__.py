"""One reader file per checkpoint flavour; each turns its files into the canonical model."""
