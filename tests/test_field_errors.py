"""Messages about fields of configuration files."""

from __future__ import annotations

import msgspec
import pytest

from apex_nautilus._field_errors import readable, unknown_field


class _Venue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    treasury: float = 1.0


class _Run(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    venue: _Venue = _Venue()
    others: list[_Venue | None] = []
    named: dict[str, _Venue] = {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"name": "x", "venu": {}}', "venu: is not a field; did you mean 'venue'?"),
        ('{"name": "x", "zzz": 1}', "zzz: is not a field here; known are name, named, others, venue"),
        ('{"name": "x", "venue": {"tresury": 1}}', "venue.tresury: is not a field; did you mean 'treasury'?"),
        ('{"name": "x", "others": [{}, {"q": 1}]}', "others[1].q: is not a field here; known are treasury"),
        ('{"name": "x", "named": {"a": {"q": 1}}}', "named[...].q: is not a field here; known are treasury"),
        ('{"name": 5}', "name: Expected `str`, got `int`"),
        ("[]", "Expected `object`, got `array`"),
    ],
)
def test_a_message_names_the_field_first_and_the_one_that_was_meant(text, told):
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(text, type=_Run)
    assert readable(str(error.value), _Run) == told


def test_a_field_of_something_that_has_none_has_no_list():
    assert unknown_field("x", ()) == "is not a field here"
