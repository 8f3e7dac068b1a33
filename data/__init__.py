"""What pixels and labels, and how they become tensors: contract, formats, preprocessing."""
