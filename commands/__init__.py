"""One file per verb: a command parses, calls the documented function behind it, and prints."""
