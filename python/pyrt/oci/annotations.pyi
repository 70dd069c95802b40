"""How fields are annotated; there is nothing of it at run time."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from pyrt.oci.fields import Field, Items, Named, Section

_Section = TypeVar("_Section", bound=Section)

Text = Field[str | None, str | None]
Flag = Field[bool | None, bool | None]
Number = Field[int | None, int | None]
Texts = Field[Items[str], Iterable[str] | None]
Numbers = Field[Items[int], Iterable[int] | None]
Names = Field[Named[str], Mapping[str, str] | None]
One = Field[_Section, _Section | None]
Several = Field[Items[_Section], Iterable[_Section] | None]
ByName = Field[Named[_Section], Mapping[str, _Section] | None]
