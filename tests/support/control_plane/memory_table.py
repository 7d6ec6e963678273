"""DynamoDB in memory: the calls and expressions that the stores use, so that a history takes milliseconds.

`test_memory_table.py` holds it to what DynamoDB does with the same calls. Each call is atomic, as DynamoDB's are.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

from botocore.exceptions import ClientError
from pynamodb.exceptions import CancellationReason, VerboseClientError

from registry.dynamodb.store import Store, open_store

Item = dict[str, Any]
_TOKEN: Final = re.compile(r"\s*(<=|>=|<>|[=<>(),+-]|[#:]?\w+)")


class MemoryTable:
    """The items of one table, and its answers to calls as botocore passes them."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Item] = {}
        self.changed: list[tuple[str, str]] = []
        """Keys of the items that were written, in order, as a stream has them."""

    def open(self) -> Store:
        """Return stores of this table, as another process has them."""
        store = open_store("memory", "us-east-1", "http://memory.invalid")
        connection: Any = store.tasks._table.connection
        connection.dispatch = self.dispatch
        return store

    def dispatch(self, operation: str, arguments: Any) -> Any:
        """Answer a call. Raises what botocore raises."""
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()  # GetItem: get_item
        return getattr(self, f"_{name}")(arguments)

    def _get_item(self, call: Any) -> Any:
        found = self.items.get(_key(call["Key"]))
        return {"Item": copy.deepcopy(found)} if found is not None else {}

    def _batch_get_item(self, call: Any) -> Any:
        ((table, asked),) = call["RequestItems"].items()
        found = [self.items[_key(key)] for key in asked["Keys"] if _key(key) in self.items]
        return {"Responses": {table: copy.deepcopy(found)}, "UnprocessedKeys": {}}

    def _query(self, call: Any) -> Any:
        matches = [
            item
            for _, item in sorted(self.items.items())
            if _Expression(call["KeyConditionExpression"], call, item).condition()
        ]
        if not call.get("ScanIndexForward", True):
            matches.reverse()
        return {
            "Items": copy.deepcopy(matches[: call.get("Limit")]),
            "Count": len(matches),
            "ScannedCount": len(matches),
        }

    def _update_item(self, call: Any) -> Any:
        if not self._holds(call):
            raise _condition_failed("UpdateItem")
        return {"Attributes": copy.deepcopy(self._update(call))}

    def _delete_item(self, call: Any) -> Any:
        if not self._holds(call):
            raise _condition_failed("DeleteItem")
        self._delete(call)
        return {}

    def _transact_write_items(self, call: Any) -> Any:
        steps = [(kind, step) for each in call["TransactItems"] for kind, step in each.items()]
        assert len(steps) <= 100
        keys = [_key(step["Key"]) for _, step in steps]
        assert len(set(keys)) == len(keys), "an item may be in a transaction once"
        held = [self._holds(step) for _, step in steps]
        if not all(held):
            raise VerboseClientError(
                {"Error": {"Code": "TransactionCanceledException", "Message": ""}},
                "TransactWriteItems",
                cancellation_reasons=[None if each else CancellationReason("ConditionalCheckFailed") for each in held],
            )
        for kind, step in steps:
            {"Update": self._update, "Delete": self._delete}[kind](step)
        return {}

    def _holds(self, call: Any) -> bool:
        if "ConditionExpression" not in call:
            return True
        return _Expression(call["ConditionExpression"], call, self.items.get(_key(call["Key"]), {})).condition()

    def _update(self, call: Any) -> Item:
        key = _key(call["Key"])
        old = self.items.get(key, dict(call["Key"]))
        new = _Expression(call["UpdateExpression"], call, old).updated()
        if new != self.items.get(key):
            self.items[key] = new
            self.changed.append(key)
        return new

    def _delete(self, call: Any) -> None:
        if self.items.pop(_key(call["Key"]), None) is not None:
            self.changed.append(_key(call["Key"]))


def _condition_failed(operation: str) -> ClientError:
    error = {"Error": {"Code": "ConditionalCheckFailedException", "Message": "The conditional request failed"}}
    return ClientError(error, operation)  # type: ignore[arg-type] # a TypedDict of botocore's


def _key(key: Any) -> tuple[str, str]:
    return key["pk"]["S"], key["sk"]["S"]


class _Expression:
    """An expression of DynamoDB's about one item."""

    def __init__(self, text: str, call: Any, item: Item) -> None:
        self._tokens = [match[1] for match in _TOKEN.finditer(text)]
        self._names = call.get("ExpressionAttributeNames", {})
        self._values = call.get("ExpressionAttributeValues", {})
        self._item = item
        self._place = 0

    def _next(self) -> str:
        self._place += 1
        return self._tokens[self._place - 1]

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def condition(self) -> bool:
        result = self._term()
        while self._peek() in ("AND", "OR"):
            word, other = self._next(), self._term()
            result = (result and other) if word == "AND" else (result or other)
        return result

    def _term(self) -> bool:
        token = self._next()
        if token == "(":
            result = self.condition()
            assert self._next() == ")"
            return result
        if token == "NOT":
            return not self._term()
        if token in ("attribute_exists", "attribute_not_exists", "begins_with"):
            first, *rest = self._arguments()
            if token == "begins_with":
                return first is not None and first["S"].startswith(rest[0]["S"])
            return (first is None) is (token == "attribute_not_exists")
        left, operator, right = self._value_of(token), self._next(), self._value_of(self._next())
        return _COMPARISONS[operator](left, right)

    def _arguments(self) -> list[Any]:
        assert self._next() == "("
        found = [self._value_of(self._next())]
        while self._peek() == ",":
            self._next()
            found.append(self._value_of(self._next()))
        assert self._next() == ")"
        return found

    def _value_of(self, token: str) -> Any:
        return self._values[token] if token.startswith(":") else self._item.get(self._names.get(token, token))

    def updated(self) -> Item:
        new = dict(self._item)
        while self._peek():
            clause = self._next()
            for name, value in self._sets() if clause == "SET" else self._removes():
                new.pop(name, None)
                if value is not None:
                    new[name] = value
        return new

    def _sets(self) -> Iterator[tuple[str, Any]]:
        while True:
            name = self._names[self._next()]
            assert self._next() == "="
            value = self._operand()
            while self._peek() in ("+", "-"):
                sign = 1 if self._next() == "+" else -1
                value = {"N": str(Decimal(value["N"]) + sign * Decimal(self._operand()["N"]))}
            yield name, value
            if self._peek() != ",":
                return
            self._next()

    def _operand(self) -> Any:
        if self._peek() == "(":
            self._next()
            value = self._operand()
            assert self._next() == ")"
            return value
        token = self._next()
        if token == "if_not_exists":
            known, otherwise = self._arguments()
            return otherwise if known is None else known
        return self._value_of(token)

    def _removes(self) -> Iterator[tuple[str, None]]:
        while True:
            yield self._names[self._next()], None
            if self._peek() != ",":
                return
            self._next()


def _plain(value: Any) -> Any:
    if value is None:
        return None
    ((kind, found),) = value.items()
    return Decimal(found) if kind == "N" else found


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": lambda a, b: _plain(a) == _plain(b),
    "<>": lambda a, b: _plain(a) != _plain(b),
    "<": lambda a, b: a is not None and _plain(a) < _plain(b),
    ">": lambda a, b: a is not None and _plain(a) > _plain(b),
    "<=": lambda a, b: a is not None and _plain(a) <= _plain(b),
    ">=": lambda a, b: a is not None and _plain(a) >= _plain(b),
}
