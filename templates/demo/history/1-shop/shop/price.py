"""Prices: a text on the label, whole cents in the till."""

from decimal import Decimal


def cents(label: str) -> int:
    """The price on a label in whole cents: `19.99` is 1999."""
    return int(Decimal(label) * 100)
