"""Peaks of devices, one YAML file each."""
