"""What customers report."""

import unittest

from shop.price import cents


class PriceTest(unittest.TestCase):
    """Single prices."""

    def test_the_till_charges_what_the_label_says(self) -> None:
        """A customer paid one cent less than the label said."""
        self.assertEqual(cents("19.99"), 1999)
