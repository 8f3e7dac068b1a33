"""Which real images stand for the data? So far: the seeded choice an export is checked on."""
