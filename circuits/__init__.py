"""The statements that zkmarket proves, as torch modules. See README.md in this folder."""

NOISE = 128
"""Uniform values that a circuit with lookups takes along, to hide what their multiplicities would tell."""
