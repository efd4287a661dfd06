"""Settings of a variant: typed fields with bounds and one line of help, set by `--set name=value`. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from msgspec import Meta

from samunet.errors import UserError
from samunet.schema import decode

if TYPE_CHECKING:
    from samunet.planning.sections import EncoderPlan

LearningRate = Annotated[float, Meta(gt=0, le=10, description="learning rate of the first iteration; it falls to 0")]
WeightDecay = Annotated[float, Meta(ge=0, le=10, description="weight decay of the optimiser")]
Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class VariantSettings:
    """What every variant's settings derive from; a variant that has none uses it as it is.

    A field is `name: Annotated[type, Meta(bounds, description="one line of help")] = default`, and works with no other
    change. A field whose default changes what a run does needs an entry in `earlier`: its value in runs that were
    trained before it existed.
    """

    earlier: ClassVar[Mapping[str, Any]] = {}

    @property
    def needs_encoder(self) -> bool:
        """Whether a variant that needs an encoder still does under these settings."""
        return True

    @property
    def registers(self) -> bool:
        """Whether cases are registered to each other before training."""
        return False

    def resolved(self, plan: EncoderPlan) -> Self:
        """The settings of a new run, where the plan decides what they leave open."""
        return self


@dataclass(frozen=True)
class TrainingSettings(VariantSettings):
    """The settings that every variant trained by gradient has.

    A subclass repeats a field to give it another default.
    """

    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 1e-2


def parsed(kind: type[VariantSettings], variant: str, given: Sequence[str]) -> dict[str, Any]:
    """The values of `name=value` texts, as the fields of `kind` type them.

    Raises:
        UserError: no such setting, one that is given twice, a wrong type, or a value out of bounds; lists the variant's
            settings.
    """
    import msgspec

    pairs = [text.partition("=") for text in given]
    names = [name for name, _, _ in pairs]
    wrong = [text for text, (_, equals, _) in zip(given, pairs, strict=True) if not equals]
    twice = sorted({name for name in names if names.count(name) > 1})
    if wrong or twice:
        raise UserError(
            "A setting must be given once, as name=value.",
            where="--set",
            found=", ".join([*wrong, *twice]),
            mend="Write it as in --set learning_rate=0.001.",
        )
    hints, values = get_type_hints(kind), {}
    for name, _, text in pairs:
        try:
            values[name] = msgspec.convert(text, hints.get(name, str), strict=False)
        except msgspec.ValidationError:
            values[name] = text  # `built` reports it with the others
    built(kind, variant, values, "--set")
    return values


def built(kind: type[VariantSettings], variant: str, values: Mapping[str, Any], where: str | Path) -> VariantSettings:
    """The settings `kind` with `values` in place of defaults.

    Raises:
        UserError: no such setting, a wrong type, or a value out of bounds; lists the variant's settings.
    """
    rule = f"A setting of {variant} must be one that it has, of its type and within its bounds."
    mend = (
        "Its settings are:\n" + "\n".join(f"  {line}" for line in described(kind))
        if fields(kind)
        else f"{variant} has no settings."
    )
    if unknown := sorted(set(values) - {each.name for each in fields(kind)}):
        raise UserError(rule, where=where, found=f"no setting {', '.join(unknown)}", mend=mend)
    return decode(kind, dict(values), rule=rule, where=where, mend=mend)


def changed(settings: VariantSettings) -> dict[str, Any]:
    """The settings that are not their defaults."""
    defaults = asdict(type(settings)())
    return {name: value for name, value in asdict(settings).items() if value != defaults[name]}


def described(kind: type[VariantSettings]) -> Iterator[str]:
    """One line for each setting: name, type, bounds, default and help."""
    hints = get_type_hints(kind, include_extras=True)
    for each in fields(kind):
        inner, *extras = (
            get_args(hints[each.name]) if get_origin(hints[each.name]) is Annotated else (hints[each.name],)
        )
        meta = next((extra for extra in extras if isinstance(extra, Meta)), Meta())
        help_text = f" - {meta.description}" if meta.description else ""
        yield f"{each.name}: {_type_text(inner, meta)}, default {each.default}{help_text}"


def _type_text(kind: Any, meta: Meta) -> str:
    if get_origin(kind) is Literal:
        return " | ".join(map(str, get_args(kind)))
    bounds = {"above": meta.gt, "at least": meta.ge, "below": meta.lt, "at most": meta.le}
    return " ".join([kind.__name__, *(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)])
