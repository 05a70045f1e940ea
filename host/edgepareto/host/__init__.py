"""The host side of EdgePareto: prunes, searches, asks the boards, shows fronts. Nothing heavy is imported here."""

__all__ = ["__version__"]

__version__ = "0.1.0"
