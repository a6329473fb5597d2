"""The price of a basket of fruit with tax, as a graph of products and a sum: the first example of textbooks."""

from __future__ import annotations

from typing import Any

from gradcheck_lab.ops import add, mul

Operand = Any


def price_of_apples(apple_price: Operand, apple_number: Operand, tax: Operand) -> Operand:
    """price · number · tax, each a tensor of one element or a Variable.

    Source: Saitoh, "Deep Learning from Scratch", 2016, section 5.1.

    >>> from gradcheck_lab import Variable
    >>> apple_price, apple_number, tax = Variable(100.0), Variable(2.0), Variable(1.1)
    >>> total = price_of_apples(apple_price, apple_number, tax)
    >>> total.backward()
    >>> [round(value.item(), 9) for value in (total.data, apple_price.grad, apple_number.grad, tax.grad)]
    [220.0, 2.2, 110.0, 200.0]
    """
    apples = mul(apple_price, apple_number)
    total = mul(apples, tax)
    return total


def price_of_fruit(
    apple_price: Operand, apple_number: Operand, orange_price: Operand, orange_number: Operand, tax: Operand
) -> Operand:
    """(price · number of the apples + price · number of the oranges) · tax, each a tensor of one element or a Variable.

    Source: Saitoh, "Deep Learning from Scratch", 2016, section 5.4.

    >>> from gradcheck_lab import Variable
    >>> price_of_fruit(*map(Variable, (100.0, 2.0, 150.0, 3.0, 1.1))).data.round(decimals=9)
    tensor(715., dtype=torch.float64)
    """
    apples = mul(apple_price, apple_number)
    oranges = mul(orange_price, orange_number)
    fruit = add(apples, oranges)
    total = mul(fruit, tax)
    return total
