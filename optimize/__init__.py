"""How does the model change? One pass per file, each exact or with its price stated."""
