"""A strategy that says of each of its commands that it gave it.

A command on the message bus says whose it is, and anybody can write that. Here a strategy keeps, while it
gives a command, what the command is about; the guard (`order_guard`) asks for it when the command comes by,
which is before the call returns.
"""

from __future__ import annotations

from typing import Any

from nautilus_trader.execution.messages import (
    BatchCancelOrders,
    CancelAllOrders,
    CancelOrder,
    ModifyOrder,
    SubmitOrder,
    SubmitOrderList,
)
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.trading.strategy import Strategy

__all__ = ["VouchingStrategy"]


class VouchingStrategy(Strategy):
    """A strategy that gives its word for each command, for as long as it gives it."""

    _word: tuple[type, Any] | None = None

    def submit_order(self, order, position_id=None, client_id=None, params=None) -> None:
        before, self._word = self._word, (SubmitOrder, order)
        try:
            super().submit_order(order, position_id, client_id, params)
        finally:
            self._word = before

    def submit_order_list(self, order_list, position_id=None, client_id=None, params=None) -> None:
        before, self._word = self._word, (SubmitOrderList, order_list)
        try:
            super().submit_order_list(order_list, position_id, client_id, params)
        finally:
            self._word = before

    def modify_order(
        self, order, quantity=None, price=None, trigger_price=None, client_id=None, params=None
    ) -> None:
        before, self._word = self._word, (ModifyOrder, order)
        try:
            super().modify_order(order, quantity, price, trigger_price, client_id, params)
        finally:
            self._word = before

    def cancel_order(self, order, client_id=None, params=None) -> None:
        before, self._word = self._word, (CancelOrder, order)
        try:
            super().cancel_order(order, client_id, params)
        finally:
            self._word = before

    def cancel_orders(self, orders, client_id=None, params=None) -> None:
        before, self._word = self._word, (BatchCancelOrders, None)
        try:
            super().cancel_orders(orders, client_id, params)
        finally:
            self._word = before

    def cancel_all_orders(
        self, instrument_id, order_side=OrderSide.NO_ORDER_SIDE, client_id=None, params=None
    ) -> None:
        before, self._word = self._word, (CancelAllOrders, None)
        try:
            super().cancel_all_orders(instrument_id, order_side, client_id, params)
        finally:
            self._word = before

    def vouches(self, kind: type, subject: Any) -> bool:
        """Whether it is giving a command of this kind about `subject`; its word holds for one command (of
        `cancel_all_orders`, for all that it sends)."""
        word = self._word
        if word is None or word[0] is not kind or word[1] is not subject:
            return False
        if kind is not CancelAllOrders:
            self._word = None
        return True
