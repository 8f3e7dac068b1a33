"""TensorRT: which release calls things what, engine files with their sidecar, the session."""
