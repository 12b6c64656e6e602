"""The words of a declared setting on the form: its label, its help, its value."""

from __future__ import annotations

from typing import Any

from optimizers.declaration import OF_LAYERS, ParameterSpec


def label_text(spec: ParameterSpec) -> str:
    """Return the label with its unit, unless the label says it already ("Epochs")."""
    repeats = spec.unit.lower() in spec.label.lower()
    return spec.label if not spec.unit or repeats else f"{spec.label} ({spec.unit})"


def help_text(spec: ParameterSpec, disabled: bool = False) -> str:
    """Return what the parameter does, its range and default, and why it is disabled where it is."""
    lines = [spec.help]
    if spec.kind in ("number", "integer") and spec.range_text():
        lines.append(f"Range: {spec.range_text()}. Default: {short_value(spec.default)}.")
    elif spec.kind != "text":
        lines.append(f"Default: {short_value(spec.default)}.")
    if spec.only_if is not None:
        lines.insert(0, f"**Disabled:** counts {spec.only_if.reason}.") if disabled else lines.append(
            f"Counts {spec.only_if.reason}."
        )
    return "\n\n".join(lines)


def short_value(value: Any) -> str:
    """Return a value in few words: "on", "0.5", "int8, float16", "3 layers"."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(map(short_value, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def setting_text(spec: ParameterSpec, value: Any) -> str:
    """Return a setting with its value for a line of several: "final sparsity 0.9", "leave as is: 2 layers"."""
    label = spec.label[:1].lower() + spec.label[1:]
    if spec.kind in OF_LAYERS:
        return f"{label}: {len(value)} layer{'s' if len(value) != 1 else ''}"
    return f"{label} {short_value(value)}"
