"""Swatch: cloud batch jobs a person enjoys."""

__version__ = "0.1.0"
