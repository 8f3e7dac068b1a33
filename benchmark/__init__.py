"""What is true of an artifact? Accuracy, latency, memory → one `Record`."""
