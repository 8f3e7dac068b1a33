"""The gate: a record against a baseline within budgets, by intervals, never by two numbers."""
