"""Which steps turn a checkpoint into a report? A YAML file and the steps it names."""
