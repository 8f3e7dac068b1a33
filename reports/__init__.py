"""How does a person see it? Renders records as terminal table, Markdown and HTML."""
