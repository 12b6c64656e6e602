"""Ready recipes: the files of `samples/recipes/`. Edit one, or put another beside it, and it is offered.

The file's name is the preset's; the comment on top says what it does and needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from intake.errors import InvalidParams, UserError
from optimizers.recipe import RecipeStep, steps_of_yaml

FOLDER = Path(__file__).parent.parent / "samples" / "recipes"


@dataclass(frozen=True)
class Preset:
    """One ready recipe."""

    name: str
    """Word of the command line: "fast_and_safe"."""
    path: Path

    @property
    def title(self) -> str:
        """For people: "Fast and safe"."""
        return title_of(self.name)

    @property
    def description(self) -> str:
        """What it does and needs: the comment lines on top of the file."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        top = lines[: next((index for index, line in enumerate(lines) if not line.startswith("#")), len(lines))]
        return " ".join(line.lstrip("# ").strip() for line in top)

    def steps(self) -> list[RecipeStep]:
        """Return its steps, unchecked; what the file leaves out is for the project to fill in."""
        return read_steps(self.path)


def title_of(name: str) -> str:
    """Return the name of a preset for people: "Fast and safe"."""
    return name.replace("_", " ").capitalize()


def presets() -> tuple[Preset, ...]:
    """Return the presets in the order of their names."""
    return tuple(Preset(path.stem, path) for path in sorted(FOLDER.glob("*.yaml")))


def steps_named(name: str) -> list[RecipeStep]:
    """Return the steps of a preset, or of a recipe file, unchecked.

    Args:
        name: of a preset ("small"), or the path of a file.

    Raises:
        UserError: there is neither, or the file is not a recipe.
    """
    known = {preset.name: preset for preset in presets()}
    if name in known:
        return known[name].steps()
    if not Path(name).is_file():
        raise UserError(f"There is no recipe file {name}, and no preset of that name. Presets: {', '.join(known)}.")
    return read_steps(Path(name))


def read_steps(path: Path) -> list[RecipeStep]:
    """Return the steps of a recipe file, unchecked; raises UserError where it cannot be read, or is none."""
    try:
        return steps_of_yaml(path.read_text(encoding="utf-8"))
    except InvalidParams as error:
        raise InvalidParams([f"{path.name}: {problem}" for problem in error.problems]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The recipe {path} cannot be read: {error}.") from None
