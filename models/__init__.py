"""What is this checkpoint? The canonical SegFormer and one reader per flavour."""
