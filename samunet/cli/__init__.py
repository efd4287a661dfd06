"""One thin module per command: parse, call, exit code."""
