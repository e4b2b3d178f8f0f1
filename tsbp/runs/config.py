"""Configurations: each setting has a type, a range and a meaning, defined once.

The command line, files, checks, records and the API pages are made from these definitions. Pydantic converts every
value to its setting's type or refuses it.
"""

import difflib
import hashlib
import json
import math
import os
import re
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from tsbp.runs.plugins import load_plugin


def setting(meaning: str, *, option: str = "", **limits: Any) -> Any:
    """What a setting means, its range, and its option on the command line where that has another name."""
    return Field(description=meaning, json_schema_extra={"option": option} if option else None, **limits)


@dataclass(frozen=True)
class OneOf:
    """A name in a registry, which is looked up at every check: a plugin may have added to it."""

    choices: Collection[str]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: str) -> str:
        if value not in self.choices:
            raise ValueError(f"must be one of {', '.join(self.choices)}")
        return value


def _canonical_number(value: Any) -> Any:
    """``0.3``, for 0.3 and "0.30" alike: equal runs have equal names."""
    if isinstance(value, bool):
        return value
    try:
        number = float(value) + 0.0  # there is one zero
    except (TypeError, ValueError, OverflowError):
        return value
    return repr(number).removesuffix(".0") if math.isfinite(number) else str(value)


Gradient = Annotated[str, BeforeValidator(_canonical_number)]
"""A name in ``tsbp.GRADIENTS``, or a number that scales the reset term."""

LARGEST_SEED = 2**32 - 1
"""PyTorch's generator takes larger numbers too, and forgets all but their last 32 bits."""

LARGEST = 1e30
"""Largest finite number of a setting: its square times a few hundred is infinite in float32."""


def name_of_data(name: str) -> str:
    """Of a data set or a folder: the folder's own name, from wherever it is named."""
    return os.path.basename(os.path.abspath(name)) if name else name


def said(config: "type[Config]", name: str) -> str:
    """What a setting means, with its range or the names that it may have: its help, wherever it is shown."""
    field = config.model_fields[name]
    words = [field.description or "", limits(field).capitalize()]
    if found := choices(field):
        words.append(f"One of {', '.join(found)}")
    return " ".join(word if word.endswith(".") else f"{word}." for word in words if word)


def limits(field: FieldInfo) -> str:
    """The range of a setting in words, such as ``at least 1``; empty if there is none."""
    words = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
    found = {end: getattr(limit, end) for limit in field.metadata for end in words if hasattr(limit, end)}
    return ", ".join(f"{words[end]} {bound}" for end, bound in found.items())


def choices(field: FieldInfo) -> list[str]:
    """The names that a setting may have; empty if it takes any."""
    return next((list(found.choices) for found in field.metadata if isinstance(found, OneOf)), [])


KINDS: dict[str, "type[Config]"] = {}
"""Kind of record → its configuration; a class with a ``kind`` enters itself."""


class Config(BaseModel):
    """Settings of one run. A wrong one raises a ValueError that names it and what is allowed, in one line."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
    kind: ClassVar[str]
    """The command that runs it, which is also the kind of its records."""
    argument: ClassVar[str] = ""
    """The setting that the command takes as its argument, not as an option."""

    def __init__(self, /, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ValueError("; ".join(_explained(found, type(self)) for found in error.errors())) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "kind" in vars(cls):
            KINDS[cls.kind] = cls
        settings = "".join(f"        {name}: {said(cls, name)}\n" for name in cls.model_fields)
        cls.__doc__ = f"{cls.__doc__}\n\n    Args:\n{settings}"

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values(cls, value: Any, info: Any) -> Any:
        several = value if isinstance(value, list | tuple) else [value]
        if cls.model_fields[info.field_name].annotation is not bool and any(isinstance(one, bool) for one in several):
            raise ValueError("takes no truth value")
        if any(isinstance(one, str) and any("\ud800" <= letter <= "\udfff" for letter in one) for one in several):
            raise ValueError("must be text in UTF-8")
        return value

    @field_validator("*")
    @classmethod
    def _numbers_of_this_world(cls, value: Any) -> Any:
        """There is one zero, and a number that no computation here can take is refused."""
        several = value if isinstance(value, tuple) else (value,)
        for one in several:
            if isinstance(one, float) and LARGEST < abs(one) < math.inf:
                raise ValueError(f"must be {'at most ' if one > 0 else 'at least -'}{LARGEST:g}")
            if isinstance(one, int) and abs(one) >= 2**63:
                raise ValueError("must be less than 2**63")
        found = tuple(one + 0.0 if isinstance(one, float) else one for one in several)
        return found if isinstance(value, tuple) else found[0]

    def but(self, /, **settings: Any) -> Self:
        """The same configuration with some settings changed, and checked again."""
        return type(self)(**self.model_dump() | settings)

    def strict(self, *, exclude_defaults: bool = False) -> dict[str, Any]:
        """The settings as strict JSON has them, which knows no infinity."""
        return json.loads(self.model_dump_json(exclude_defaults=exclude_defaults))

    def identity(self, data: str = "") -> str:
        """Hash of what is run, the same for equal runs however they were asked for.

        Settings at the default of this class are left out. These defaults never change, so that a setting that is added
        later renames no earlier run; what suits a data set does change, and is not left out.

        Args:
            data: fingerprint of the data set.
        """
        changed = self.strict(exclude_defaults=True)
        if "dataset" in changed:
            changed["dataset"] = name_of_data(changed["dataset"])  # the fingerprint knows the data, wherever they are
        canonical = json.dumps({"kind": self.kind, "data": data} | changed, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:10]

    @classmethod
    def restored(cls, record: Mapping[str, Any]) -> Self:
        """The configuration in a record, as it stands there: nothing is checked, no plugin is imported."""
        found = {name: record[name] for name in cls.model_fields if name in record}
        for name, value in found.items():
            number = isinstance(value, str | int) and not isinstance(value, bool)
            if cls.model_fields[name].annotation is float and number:
                found[name] = float(value)  # strict JSON has no infinity
            elif isinstance(value, list):
                found[name] = tuple(value)
        return cls.model_construct(**found)

    @classmethod
    def option(cls, name: str) -> str:
        """How the command line calls a setting: ``--batch-size``."""
        extra = cls.model_fields[name].json_schema_extra
        other = extra.get("option") if isinstance(extra, dict) else None
        return f"--{other or name}".replace("_", "-")


class PluginConfig(Config):
    """A configuration whose gradient or surrogate may come from a plugin, which is imported before they are checked."""

    plugin: Annotated[
        str, setting("Module to import first, which adds gradients, surrogates, neurons or data sets.")
    ] = ""

    @field_validator("plugin")
    @classmethod
    def _imported(cls, value: str) -> str:
        load_plugin(value)
        return value


def _explained(error: Any, config: type[Config]) -> str:
    """One of pydantic's errors as ``lr must be greater than 0, got -1.0``."""
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, config.model_fields, n=1)
        allowed = f"did you mean {near[0]}?" if near else f"there are {', '.join(config.model_fields)}"
        return f"unknown setting {name}; {allowed}"
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "value_error":
        said = str(error["ctx"]["error"])
        if not name or said.startswith((f"{name} ", "plugin ")):
            return said
    else:
        said = re.sub(r"^\w+ should ", "must ", error["msg"]).partition(", ")[0].partition(" after validation")[0]
        for theirs, ours in _WORDS.items():
            said = said.replace(theirs, ours)
    return f"{name} {said}, got {_short.repr(error['input'])}"


_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 2, 80, 80
"""How a wrong value is quoted, however large it is."""


_WORDS = {"a valid ": "a ", "a integer": "an integer", "a tuple": "a list"}
_WORDS |= {"greater than or equal to": "at least", "less than or equal to": "at most"}
"""How pydantic's messages are put here."""
