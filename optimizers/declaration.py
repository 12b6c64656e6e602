"""A parameter is declared once, as a pydantic field; the form, the CLI, the checks and the docs read it here.

class PruningParams(Params):
    final_sparsity: float = parameter(0.8, "Final sparsity", "Share of weights at zero.", ge=0.05, le=0.95)
    layer_sparsity: dict[str, Annotated[float, Field(gt=0, lt=1)]] = parameter({}, "Sparsity by layer", "...")
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from intake.errors import InvalidParams

Kind = Literal["number", "integer", "choice", "switch", "text", "layers", "layer_number", "layer_integer"]
"""layers: names of layers of the model, none to all of them. layer_number, layer_integer: a value for each of some."""
OF_LAYERS: tuple[Kind, ...] = ("layers", "layer_number", "layer_integer")
"""Kinds whose values name layers of the model."""


@dataclass(frozen=True)
class Condition:
    """A parameter counts only while another has one of some values."""

    parameter: str
    values: tuple[Any, ...]
    reason: str
    """Shown where the field is disabled: "only with the PolynomialDecay schedule"."""
    and_if: Condition | None = None
    """Another condition that must hold as well."""

    def holds(self, values: dict[str, Any]) -> bool:
        """True where the other parameter has one of the values, and what must hold as well holds."""
        return values.get(self.parameter) in self.values and (self.and_if is None or self.and_if.holds(values))


@dataclass(frozen=True)
class ParameterSpec:
    """One declared parameter, as the form, the CLI and the docs need it. Low and high are included in the range."""

    name: str
    kind: Kind
    label: str
    help: str
    default: Any
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    """True where `low` itself is not allowed."""
    high_open: bool = False
    """True where `high` itself is not allowed."""
    step: float | None = None
    unit: str = ""
    choices: tuple[Any, ...] = ()
    only_if: Condition | None = None
    advanced: bool = False

    def range_text(self) -> str:
        """For people: "0.05 to 0.95", "above 0, up to 1", "LINEAR, RANDOM"; "" where anything goes."""
        if self.kind == "switch":
            return "yes, no"
        if self.kind == "layers":
            return "names of layers, separated by commas"
        if self.kind in OF_LAYERS:
            return f"layer=value, separated by commas; values {self._bounds_text()}"
        if self.choices:
            return ", ".join(str(choice) for choice in self.choices)
        return self._bounds_text()

    def _bounds_text(self) -> str:
        low, high = _plain(self.low), _plain(self.high)
        if low and high:
            return f"{'above ' if self.low_open else ''}{low} to {'below ' if self.high_open else ''}{high}"
        if low:
            return f"above {low}" if self.low_open else f"at least {low}"
        return f"at most {high}" if high else ""


def _plain(bound: float | None) -> str:
    """A bound without exponent, thousands separated; "" where there is none."""
    if bound is None:
        return ""
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:g}"


def parameter(
    default: Any,
    label: str,
    help: str,
    *,
    unit: str = "",
    step: float | None = None,
    only_if: Condition | None = None,
    advanced: bool = False,
    **bounds: Any,
) -> Any:
    """Declare one parameter.

    Args:
        default: value where the user says nothing.
        label: name on the form.
        help: one line: what it does, which way is smaller.
        unit: "epochs", "samples", ...; "" for shares and choices.
        step: step of the form's number field.
        only_if: the condition under which it counts.
        advanced: shown folded away.
        bounds: pydantic's gt, ge, lt, le.
    """
    extra: dict[str, Any] = {"unit": unit, "step": step, "advanced": advanced}
    if only_if is not None:
        extra["only_if"] = asdict(only_if)
    return Field(default, title=label, description=help, json_schema_extra=extra, **bounds)


class Params(BaseModel):
    """Base of every parameter declaration: frozen, nothing undeclared, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Self:
        """Build from plain values; raises InvalidParams with every problem in a sentence of its own."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise InvalidParams(_sentences(cls, error)) from None

    @classmethod
    def from_text(cls, pairs: dict[str, str]) -> dict[str, Any]:
        """Turn "name" -> "text" pairs of a command line into values of the declared kinds, unchecked.

        Text that does not parse stays text, so that `checked` names it.
        """
        kinds = {spec.name: spec for spec in specs(cls)}
        return {name: _parse(text, kinds.get(name)) for name, text in pairs.items()}


def _parse(text: str, spec: ParameterSpec | None) -> Any:
    if spec is None or spec.kind == "text" or text in spec.choices:
        return text
    if spec.kind == "layers":
        return [name.strip() for name in text.split(",") if name.strip()]
    if spec.kind in OF_LAYERS:
        pairs = [part.rpartition("=") for part in text.split(",") if part.strip()]
        return {name.strip(): _value(value.strip()) for name, _, value in pairs}
    return _value(text.lower() if spec.kind == "switch" else text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _sentences(cls: type[Params], error: ValidationError) -> list[str]:
    known = {spec.name: spec for spec in specs(cls)}
    return [_sentence(known, problem) for problem in error.errors()]


def _sentence(known: dict[str, ParameterSpec], problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        return f"`{name}` is not a parameter here. Known: {', '.join(known)}."
    if name in known:
        spec = known[name]
        what = {
            "integer": "a whole number", "number": "a number", "layers": "a list of", "layer_number": "pairs",
            "layer_integer": "pairs with whole numbers:",
        }.get(spec.kind, "one of")  # fmt: skip
        rule = f"{what} {spec.range_text()}".strip()
        return f"`{name}` ({spec.label}) must be {rule}, got {problem['input']!r}."
    return str(problem["msg"]).removeprefix("Value error, ")


def specs(cls: type[Params]) -> tuple[ParameterSpec, ...]:
    """Return the declared parameters of `cls`, in declaration order."""
    return tuple(_spec(name, field) for name, field in cls.model_fields.items())


def _spec(name: str, field: Any) -> ParameterSpec:
    extra = field.json_schema_extra or {}
    kind, choices = _kind(field.annotation)
    bounds: dict[str, Any] = {}
    for rule in [*field.metadata, *_rules_of_values(field.annotation)]:
        for key, low_high, is_open in (
            ("ge", "low", False),
            ("gt", "low", True),
            ("le", "high", False),
            ("lt", "high", True),
        ):
            if (value := getattr(rule, key, None)) is not None:
                bounds[low_high] = value
                bounds[f"{low_high}_open"] = is_open
    return ParameterSpec(
        name=name,
        kind=kind,
        label=field.title or name,
        help=field.description or "",
        default=field.default,
        step=extra.get("step"),
        unit=extra.get("unit", ""),
        choices=choices,
        only_if=_condition(extra.get("only_if")),
        advanced=extra.get("advanced", False),
        **bounds,
    )


def _condition(declared: dict[str, Any] | None) -> Condition | None:
    if declared is None:
        return None
    return Condition(
        declared["parameter"], tuple(declared["values"]), declared["reason"], _condition(declared["and_if"])
    )


def _kind(annotation: Any) -> tuple[Kind, tuple[Any, ...]]:
    if get_origin(annotation) is Literal:
        return "choice", get_args(annotation)
    if get_origin(annotation) is dict:
        value = get_args(get_args(annotation)[1])[0]
        return "layer_integer" if value is int else "layer_number", ()
    kinds: dict[Any, Kind] = {bool: "switch", int: "integer", float: "number", str: "text", tuple[str, ...]: "layers"}
    return kinds[annotation], ()


def _rules_of_values(annotation: Any) -> list[Any]:
    """The bounds in `dict[str, Annotated[float, Field(gt=0)]]`."""
    if get_origin(annotation) is not dict:
        return []
    return [rule for field in get_args(get_args(annotation)[1])[1:] for rule in field.metadata]


def markdown_table(cls: type[Params]) -> str:
    """Return the parameters as a Markdown table: name, default, range, what it does."""
    rows = ["| parameter | default | range | what it does |", "|---|---|---|---|"]
    for spec in specs(cls):
        unit = f" {spec.unit}" if spec.unit else ""
        only = f" ({spec.only_if.reason})" if spec.only_if else ""
        default = spec.default if spec.default not in ((), {}) else "none"
        rows.append(f"| `{spec.name}` | {default}{unit} | {spec.range_text()} | {spec.help}{only} |")
    return "\n".join(rows)
