"""The state of the Launch screen: recipes, the form, the cursor, and what planning and linting found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from finetop.core.recipe.fields import Field
from finetop.tui.screens.launch.form import Base, Form, important, is_path, matching, visible
from finetop.tui.screens.launch.lint import DataLint
from finetop.tui.screens.launch.plan_preview import NOTHING, Ahead, Outlook, Preview, with_problems
from finetop.tui.widgets.entry import Entry

Part = Literal["recipes", "settings"]


@dataclass(slots=True)
class LaunchState:
    """The form of the recipe under the cursor, and what the screen shows of it."""

    form: Form
    bases: list[Base] = field(default_factory=list)
    base_at: int = 0
    part: Part = "recipes"
    field_at: int = 0
    all_settings: bool = False
    entry: Entry | None = None  # the field being typed
    before: str = ""  # its text before it was typed
    names: tuple[str, ...] = ()  # possible completions of the path being typed
    preview: Preview = NOTHING
    ahead: Ahead = field(default_factory=Ahead)
    data_lint: DataLint = field(default_factory=DataLint)
    searched: str = ""  # the search text while it is typed
    sought: str = ""  # the last search, for n
    data: str = ""  # the training data typed last
    typed_over: dict[tuple[str, str], Form] = field(default_factory=dict)  # edited forms by recipe

    @property
    def outlook(self) -> Outlook:
        return self.ahead.outlook

    @property
    def shown_form(self) -> Form:
        """The form, with what was found out ahead of just what it says."""
        loaded = self.form.loaded
        if loaded is None or not self.ahead.is_of(loaded.resolved):
            return self.form
        return with_problems(self.form, self.outlook)

    @property
    def searched_settings(self) -> str:
        return self.searched if self.part == "settings" else ""

    @property
    def fields(self) -> tuple[tuple[str, Field], ...]:
        """The fields in view, each with its label."""
        return visible(self.form, all_settings=self.all_settings, searched=self.searched_settings)

    @property
    def field(self) -> Field | None:
        """The field under the cursor; None while the cursor is on the recipes."""
        fields = self.fields
        return fields[self.field_at][1] if self.part == "settings" and self.field_at < len(fields) else None

    @property
    def key(self) -> str:
        """The setting under the cursor."""
        return "" if self.field is None else self.field.key

    @property
    def types_path(self) -> bool:
        return self.entry is not None and is_path(self.key, self.entry.text)

    @property
    def bases_shown(self) -> Sequence[int]:
        """Indexes of the recipes in view: during a search those that match."""
        is_searched = self.part == "recipes" and bool(self.searched.strip())
        return matching(self.bases, self.searched) if is_searched else range(len(self.bases))

    def change(self, form: Form) -> None:
        """Set an edited form, and keep it for when its recipe is selected again."""
        if form.edits.get("data.train", "") != self.form.edits.get("data.train", ""):
            self.data = form.edits.get("data.train", "")
        self.form = form
        if form.edits or form.sweeps:
            self.typed_over[form.base.key] = form
        else:
            self.typed_over.pop(form.base.key, None)

    def keep_cursor_in(self) -> None:
        self.field_at = min(max(0, self.field_at), max(0, len(self.fields) - 1))

    def show_setting(self, key: str) -> None:
        """Put the cursor on a setting; show all settings if it is not a common one."""
        self.all_settings = self.all_settings or key not in important(self.form)
        self.put_cursor_on(key)

    def put_cursor_on(self, key: str) -> None:
        """Put the cursor on a setting, or on the first if it is not in view."""
        keys = [entry.key for _, entry in self.fields]
        self.field_at = keys.index(key) if key in keys else 0
