"""YAML files, of which nothing is read as something else without a word.

``yaml.safe_load`` takes the last of two equal keys, 010 for 8 and 1:30 for 90, and lets aliases stand for more values
than there is memory.
"""

import re
from pathlib import Path
from typing import Any

import yaml

MOST_VALUES = 100_000
"""That a file may hold, each alias counted as what it stands for."""
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_ODD = re.compile(r"[-+]?0[0-9_]+|.*:.*")
"""Numbers that are octal or to the base of 60."""


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise _RefusedError(f"the key {', '.join(twice)} stands there twice")
        for key, value in node.value:
            if isinstance(value, yaml.ScalarNode) and value.tag in _NUMBERS:
                self.number(value, f"{key.value}: ")
        return super().construct_mapping(node, deep)

    def number(self, node: Any, key: str = "") -> Any:
        value = self.construct_yaml_int(node) if node.tag == _NUMBERS[0] else self.construct_yaml_float(node)
        if _ODD.fullmatch(node.value):
            raise _RefusedError(f"{key}{node.value} means {value} in YAML; quote it if it is a text")
        return value


for _tag in _NUMBERS:
    _Loader.add_constructor(_tag, _Loader.number)


class _RefusedError(Exception):
    """YAML, but not what it seems to be."""


def read(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        ValueError: it is no YAML, has a key twice, a number that means another, or too much; the message names it.
        OSError: it cannot be read.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > MOST_VALUES:
            raise _RefusedError(f"its aliases stand for more than {MOST_VALUES:,} values")
        return loader.construct_document(node)
    except _RefusedError as error:
        raise ValueError(f"{path}: {error}") from None
    except RecursionError:
        raise ValueError(f"{path} is not YAML that can be read: it is nested too deeply") from None
    except OSError:
        raise
    except Exception as error:  # the constructors of tags such as !!bool let through whatever they meet
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None


def _values(node: Any, known: dict[Any, int]) -> int:
    """How many values a node stands for; each alias is the node itself once more."""
    if node in known:
        if not known[node]:
            raise _RefusedError("an alias stands for what it is a part of")
        return known[node]
    known[node] = 0
    parts: Any = [] if isinstance(node, yaml.ScalarNode) else node.value
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in parts for part in pair]
    known[node] = 1 + sum(_values(part, known) for part in parts)
    return known[node]
