"""Prices: a text on the label, whole cents in the till."""


def cents(label: str) -> int:
    """The price on a label in whole cents: `19.99` is 1999."""
    return int(float(label) * 100)
