"""Choosing a variant by its options: a group of values for each option, and in words what cannot be had together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tidegate.platform.money import Money
from tidegate.platform.texts import Text
from tidegate.platform.texts import text as _
from tidegate.storefront.offers import VariantOffer

FIELD = "option-"
"""Fields of a choice are called so, and by the place of their option: `option-1`."""
MAX_OPTIONS = 10
MANY = 12
"""Values of one option from which on they are a list in place of buttons."""

Values = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OptionValue:
    """A value with what is to be said of it beside the others that are chosen. `price` None: all cost the same."""

    value: str
    hint: Text | str
    price: Money | None
    chosen: bool
    gone: bool
    """Whether nothing with it can be had."""


@dataclass(frozen=True, slots=True)
class OptionGroup:
    """An option: its name, the field that chooses, its values in the merchant's order."""

    name: str
    field: str
    values: tuple[OptionValue, ...]

    @property
    def many(self) -> bool:
        """Whether the values are better a list."""
        return len(self.values) > MANY


@dataclass(frozen=True, slots=True)
class OptionChoice:
    """What is chosen: `label` in words, `variant` None where there is no such thing.

    `told` are sentences for what cannot be had: why, and what can be.
    """

    groups: tuple[OptionGroup, ...]
    label: str
    variant: VariantOffer | None
    told: tuple[Text, ...]

    @property
    def available(self) -> bool:
        """Whether it can be had now."""
        return self.variant is not None and self.variant.left > 0


def option_names(variants: Sequence[VariantOffer]) -> tuple[str, ...]:
    """The options to choose by; empty where the variants do not differ by the same options, or there is one only."""
    if len(variants) < 2:
        return ()
    names = tuple(name for name, _value in variants[0].variant.options)
    combinations = {_values(each) for each in variants}
    same = all(tuple(name for name, _value in each.variant.options) == names for each in variants)
    if not same or len(combinations) < len(variants) or len(set(names)) < len(names) or len(names) > MAX_OPTIONS:
        return ()
    return names


def asked_options(sent: Callable[[str], str], names: Sequence[str]) -> Values:
    """The values that a form or an address asks for, in the order of the options; empty texts for none."""
    return tuple(sent(f"{FIELD}{place}")[:255] for place in range(1, len(names) + 1))


def options_query(values: Values) -> dict[str, str]:
    """The same, as an address says it."""
    return {f"{FIELD}{place}": value for place, value in enumerate(values, start=1)}


def find_variant(variants: Sequence[VariantOffer], values: Values) -> VariantOffer | None:
    """The variant with exactly these values."""
    return next((each for each in variants if _values(each) == values), None)


def choose(variants: Sequence[VariantOffer], names: Sequence[str], asked: Values) -> OptionChoice:
    """The choice that is asked for, completed by what can be had. `names`: those of `option_names`, not empty."""
    known = {_values(each): each for each in variants}
    values = [tuple(dict.fromkeys(each[place] for each in known)) for place in range(len(names))]
    chosen = _completed(known, values, asked)
    one_price = len({each.variant.price for each in variants}) == 1
    groups = tuple(
        OptionGroup(name, f"{FIELD}{place + 1}", _group(known, values[place], chosen, place, one_price))
        for place, name in enumerate(names)
    )
    label = ", ".join(chosen)
    variant = known.get(chosen)
    told = () if variant is not None and variant.left > 0 else _told(known, values, chosen, label)
    return OptionChoice(groups, label, variant, told)


def _values(each: VariantOffer) -> Values:
    return tuple(value for _name, value in each.variant.options)


def _completed(known: Mapping[Values, VariantOffer], values: Sequence[Values], asked: Values) -> Values:
    """Values for all options: those asked for that exist, the others from the first variant that fits and is left."""
    wanted = [value if value in values[place] else "" for place, value in enumerate(asked)]
    fitting = [
        each for each in known if all(not want or want == value for want, value in zip(wanted, each, strict=True))
    ]
    model = next((each for each in fitting if known[each].left > 0), None)
    if model is None:
        model = next(iter(fitting), None) or next((each for each in known if known[each].left > 0), next(iter(known)))
    return tuple(want or value for want, value in zip(wanted, model, strict=True))


def _group(
    known: Mapping[Values, VariantOffer], values: Values, chosen: Values, place: int, one_price: bool
) -> tuple[OptionValue, ...]:
    rest = ", ".join(each for at, each in enumerate(chosen) if at != place)
    found = []
    for value in values:
        variant = known.get((*chosen[:place], value, *chosen[place + 1 :]))
        gone = all(each.left == 0 for combination, each in known.items() if combination[place] == value)
        price = None if one_price or variant is None or variant.left == 0 else variant.variant.price
        hint = _hint(variant, rest, gone=gone)
        found.append(OptionValue(value, hint, price, value == chosen[place], gone))
    return tuple(found)


def _hint(variant: VariantOffer | None, rest: str, *, gone: bool) -> Text | str:
    """What to say of a value beside the `rest` that is chosen."""
    if gone or (variant is not None and variant.left == 0 and not rest):
        return _("Sold out")
    if variant is None:
        return _("Not in %(others)s", others=rest)
    if variant.left == 0:
        return _("Sold out in %(others)s", others=rest)
    return _("Only %(left)s left", left=variant.left) if variant.few else ""


def _told(
    known: Mapping[Values, VariantOffer], values: Sequence[Values], chosen: Values, label: str
) -> tuple[Text, ...]:
    """Why the choice cannot be had, and which others can, one option changed at a time."""
    why = _("%(choice)s is sold out.", choice=label)
    if chosen not in known:
        why = _("%(choice)s is not made.", choice=label)
    others = []
    for place in range(len(chosen)):
        left = [
            value
            for value in values[place]
            if (each := known.get((*chosen[:place], value, *chosen[place + 1 :]))) and each.left > 0
        ]
        rest = ", ".join(each for at, each in enumerate(chosen) if at != place)
        if left and rest:
            others.append(_("%(rest)s can be had in: %(values)s.", rest=rest, values=", ".join(left)))
        elif left:
            others.append(_("Can be had: %(values)s.", values=", ".join(left)))
    if not others and any(each.left > 0 for each in known.values()):
        others.append(_("Change more than one of the choices below."))
    return (why, *others)
