"""Version 1 of the wire contract. The generated modules are made by proto/generate.py."""
