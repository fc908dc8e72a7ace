"""What a cart costs."""

import unittest

from shop.cart import total


class CartTest(unittest.TestCase):
    """Whole carts."""

    def test_a_cart_is_the_sum_of_its_prices(self) -> None:
        """Two prices add up."""
        self.assertEqual(total(["5.00", "2.50"]), 750)
