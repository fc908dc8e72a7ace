"""The cart: what a customer has to pay."""

from collections.abc import Iterable

from shop.price import cents


def total(labels: Iterable[str]) -> int:
    """The sum of the prices on these labels, in whole cents."""
    return sum(cents(label) for label in labels)
