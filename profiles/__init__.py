"""What does a target accelerate, and in which form does it want INT8? One YAML file per target."""
